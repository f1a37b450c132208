package install

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/quic-go/quic-go"

	"tideover"
	"tideover/wire"
)

// addressMax is how long one address of the hub may take, from dialling to its answer.
const addressMax = 8 * time.Second

// ask sends the request to each address of the token in turn until one answers. What a hub refuses ends it.
func ask(ctx context.Context, token wire.Token, request wire.Enroll) (wire.Enrolled, error) {
	var missed []error
	for _, address := range token.Addresses {
		for _, a := range lookup(ctx, address) {
			answer, err := askOne(ctx, a, token, request)
			if err == nil {
				return answer, nil
			}
			if e, ok := errors.AsType[*Error](err); ok {
				return answer, e
			}
			missed = append(missed, fmt.Errorf("%s: %w", a, err))
			if ctx.Err() != nil {
				return answer, unreachable(token, missed)
			}
		}
	}
	return wire.Enrolled{}, unreachable(token, missed)
}

// lookup returns every address of a host; one that has none is dialled as it stands, so that its error is told.
func lookup(ctx context.Context, address string) []string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return []string{address}
	}
	found, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil || len(found) == 0 {
		return []string{address}
	}
	for i := range found {
		found[i] = net.JoinHostPort(found[i], port)
	}
	return found
}

func unreachable(token wire.Token, missed []error) error {
	var all []string
	for _, m := range missed {
		all = append(all, m.Error())
	}
	return &Error{
		What: text("no hub answers at %s (%s)", "无法连接 hub：%s（%s）", strings.Join(token.Addresses, ", "), strings.Join(all, "; ")),
		Hint: text("check this machine's network, that UDP to that port is let through, and that the hub runs; then use the same token again",
			"请检查本机网络、该 UDP 端口是否放行、hub 是否在运行；然后用同一令牌重试"),
		Err: errors.Join(append(missed, ErrUnreachable)...),
	}
}

// errPin tells of a server that is not the token's hub.
var errPin = errors.New("its certificate is not from the authority that the token names")

// askOne asks one address.
func askOne(ctx context.Context, address string, token wire.Token, request wire.Enroll) (answer wire.Enrolled, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, addressMax, errors.New("no answer"))
	defer cancel()
	conn, err := quic.DialAddr(ctx, address, pinned(token.CAHash), &quic.Config{
		HandshakeIdleTimeout: addressMax, MaxIncomingStreams: -1, MaxIncomingUniStreams: -1,
	})
	if err != nil {
		return answer, explain(address, err)
	}
	defer func() { _ = conn.CloseWithError(wire.CloseDone, "") }()
	defer context.AfterFunc(ctx, func() { _ = conn.CloseWithError(wire.CloseDone, "given up") })()
	kind, msg, err := talk(ctx, conn, request)
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return answer, explain(address, err)
	}
	switch m := msg.(type) {
	case wire.Enrolled:
		return m, nil
	case wire.Refused:
		return answer, refused(m)
	default:
		return answer, fmt.Errorf("it answered with frame type %d", kind)
	}
}

func talk(ctx context.Context, conn *quic.Conn, request wire.Enroll) (wire.Type, any, error) {
	st, err := conn.OpenStreamSync(ctx)
	if err != nil {
		return 0, nil, err
	}
	if err := wire.WriteFrame(st, wire.TypeEnroll, request); err != nil {
		return 0, nil, err
	}
	if err := st.Close(); err != nil {
		return 0, nil, err
	}
	kind, msg, err := wire.ReadFrame(st, wire.FromHub)
	if err != nil {
		if cause := context.Cause(conn.Context()); cause != nil {
			err = cause
		}
	}
	return kind, msg, err
}

// pinned trusts a server whose certificate is signed by the authority with the given fingerprint, and no other. Dates are not judged:
// this machine does not know the time yet.
func pinned(caHash [32]byte) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{wire.EnrollProtocol}, ServerName: wire.ServerName,
		CurvePreferences:   []tls.CurveID{tls.X25519},
		InsecureSkipVerify: true, // VerifyConnection does it
		VerifyConnection: func(state tls.ConnectionState) error {
			if len(state.PeerCertificates) == 0 {
				return errPin
			}
			leaf := state.PeerCertificates[0]
			pool := x509.NewCertPool()
			at := leaf.NotBefore
			for _, c := range state.PeerCertificates[1:] {
				if sha256.Sum256(c.Raw) == caHash {
					pool.AddCert(c)
					if c.NotBefore.After(at) {
						at = c.NotBefore
					}
				}
			}
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, CurrentTime: at, DNSName: wire.ServerName}); err != nil {
				return fmt.Errorf("%w: %w", errPin, err)
			}
			return nil
		},
	}
}

// explain turns what a handshake or a close says into what a person can act on; the rest stays as it is, and the next address is tried.
func explain(address string, err error) error {
	if errors.Is(err, errPin) {
		return &Error{
			What: text("%s is not the hub that the token is from: it shows another authority", "%s 不是签发该令牌的 hub：其根证书不同", address), Err: errors.Join(ErrStranger, err),
			Hint: text("check the address; if the hub was set up anew, print a fresh token there", "请检查地址；如 hub 已重建，请在其上输出新令牌"),
		}
	}
	return err
}

// refused explains why the hub does not take the token.
func refused(r wire.Refused) error {
	e := &Error{Hint: freshToken, Err: fmt.Errorf("%w: %s", ErrToken, r.Detail)}
	switch r.Reason {
	case wire.ReasonToken:
		e.What = text("the hub does not take the token: it was used, has expired, or a newer one has taken its place", "hub 不接受该令牌：已使用、已过期，或已被更新的令牌取代")
	case wire.ReasonBusy, wire.ReasonDraining:
		e.What = text("the hub cannot take an enrolment now", "hub 暂时无法处理注册")
		e.Hint = text("use the same token again in a minute", "请一分钟后用同一令牌重试")
	case wire.ReasonNone, wire.ReasonKeyReused, wire.ReasonSuperseded, wire.ReasonMalformed, wire.ReasonRevoked:
		e.What = tideover.Textf("the hub refuses the enrolment", "hub 拒绝注册")
	}
	e.What.En += " (" + r.Detail + ")"
	e.What.Zh += "（" + r.Detail + "）"
	return e
}
