package install

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"tideover/wire"
)

// Options says how to enrol.
type Options struct {
	Token    string // as `tideover-hub store add` printed it
	StateDir string // made if it is missing
	Store    string // what the configuration calls the store; "" takes the token's
}

// Enroll makes this machine the edge of the token's store: it makes a key, has the hub sign it, and writes the state directory. It blocks
// until the hub has answered, or no address of it has. An enrolment over an earlier one of the same store keeps queue.key, and with
// it the journal; where there is another store's journal it refuses. It does not make a journal.
//
// When it returns an error the machine is what it was before. Errors are [Error] where a person can act.
func Enroll(ctx context.Context, o Options) (Identity, error) {
	token, err := wire.ParseToken(o.Token)
	if err != nil {
		return Identity{}, &Error{
			What: text("this is not an enrolment token, or not all of it", "这不是注册令牌，或令牌不完整"), Err: err,
			Hint: text("copy the whole line that `tideover-hub store add NAME` printed; it begins with tov1.", "请完整复制 `tideover-hub store add 名称` 输出的整行，以 tov1. 开头"),
		}
	}
	if o.Store != "" && o.Store != token.Store {
		return Identity{}, &Error{
			What: text("the token is for store %q, the configuration says store = %q", "令牌属于门店 %q，而配置中 store = %q", token.Store, o.Store), Err: ErrOtherStore,
			Hint: text("correct the configuration, or use a token of %[2]q", "请修改配置，或使用门店 %[2]q 的令牌", token.Store, o.Store),
		}
	}
	if err := os.MkdirAll(o.StateDir, 0o700); err != nil {
		return Identity{}, fmt.Errorf("make the state directory: %w", err)
	}
	d := stateDir(o.StateDir)
	lock, err := d.lock()
	if err != nil {
		return Identity{}, err
	}
	defer lock.Close()
	if err := d.finish(); err != nil {
		return Identity{}, err
	}
	if err := os.Chmod(o.StateDir, 0o700); err != nil {
		return Identity{}, fmt.Errorf("close the state directory to others: %w", err)
	}
	keep, err := d.mayBecome(token.Store)
	if err != nil {
		return Identity{}, err
	}
	return d.enroll(ctx, token, keep)
}

// mayBecome says whether the machine may become a store's edge, and whether its queue.key must be kept.
func (d stateDir) mayBecome(store string) (keepKey bool, err error) {
	if !d.has(fileQueue) {
		return false, nil
	}
	// Where identity.json cannot be read, the journal itself says whose it is when it is opened.
	if had := d.peek().Store; had != "" && had != store {
		return false, &Error{
			What: text("%s holds the journal of store %q, and the token is for %q", "%s 中是门店 %q 的日志，而令牌属于门店 %q", d, had, store), Err: ErrOtherStore,
			Hint: text("give the new store another state_dir; the journal may hold payments that are not at the hub yet",
				"请为新门店另设 state_dir；原日志中可能有尚未送达总部的交易"),
		}
	}
	if _, err := d.queueKeys(); err != nil {
		if e, ok := errors.AsType[*Error](err); ok {
			e.Err = errors.Join(ErrNoQueueKey, e.Err)
		}
		return false, err
	}
	return true, nil
}

// enroll has a key signed and puts everything in place.
func (d stateDir) enroll(ctx context.Context, token wire.Token, keepQueueKey bool) (Identity, error) {
	key, err := d.attempt(token)
	if err != nil {
		return Identity{}, fmt.Errorf("prepare an enrolment: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: token.Store}}, key)
	if err != nil {
		return Identity{}, err
	}
	answer, err := ask(ctx, token, wire.Enroll{Secret: token.Secret, CSR: csr})
	if err != nil {
		return Identity{}, err
	}
	id, err := judge(token, answer, key)
	if err != nil {
		return Identity{}, err
	}
	if err := d.prepare(id, tokenMark(token), answer, keepQueueKey); err != nil {
		return Identity{}, fmt.Errorf("write the enrolment: %w", err)
	}
	if err := d.decide(); err != nil {
		return Identity{}, fmt.Errorf("write the enrolment: %w", err)
	}
	if err := d.finish(); err != nil {
		return Identity{}, fmt.Errorf("put the enrolment in place: %w", err)
	}
	return d.load()
}

// tokenMark knows a token again without its secret.
func tokenMark(token wire.Token) string {
	sum := sha256.Sum256(token.Secret[:])
	return hex.EncodeToString(sum[:])
}

// attempt returns the key for a token, which is on disk: the one of an earlier attempt with it, to which the hub may have answered
// already, even if that was brought to its end; or a new one.
func (d stateDir) attempt(token wire.Token) (*ecdsa.PrivateKey, error) {
	p := stateDir(d.path(dirPreparing))
	mark := tokenMark(token)
	if had, err := os.ReadFile(p.path(fileAttempt)); err == nil && string(had) == mark {
		if key, err := readKey(p.path(fileKey)); err == nil {
			return key, nil
		}
	}
	if err := os.RemoveAll(string(p)); err != nil {
		return nil, err
	}
	if err := os.Mkdir(string(p), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	key, err := d.usedKey(mark)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := p.write(fileKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, err
	}
	if err := p.write(fileAttempt, []byte(mark)); err != nil {
		return nil, err
	}
	return key, errors.Join(p.sync(), d.sync())
}

// usedKey returns the machine's key if it was enrolled with the token of that mark, else a new one.
func (d stateDir) usedKey(mark string) (*ecdsa.PrivateKey, error) {
	if d.peek().Token == mark {
		if key, err := readKey(d.path(fileKey)); err == nil {
			return key, nil
		}
	}
	return ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
}

func readKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, errors.New("not PEM")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return ec, nil
}

// prepare gathers the files of an enrolment beside its key.
func (d stateDir) prepare(id Identity, mark string, answer wire.Enrolled, keepQueueKey bool) error {
	p := stateDir(d.path(dirPreparing))
	file := id.file()
	file.Token = mark
	identity, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		return err
	}
	files := map[string][]byte{
		fileIdentity: append(identity, '\n'),
		fileCert:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: answer.Certificate}),
		fileCA:       pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: answer.CA}),
		fileSecret:   answer.StoreSecret[:],
	}
	if !keepQueueKey {
		files[fileQueueKey] = make([]byte, secretSize)
		_, _ = rand.Read(files[fileQueueKey]) // never fails
	}
	if answer.ReceiptKey != [ed25519.PublicKeySize]byte{} {
		known, err := ReceiptKeys(string(d))
		if err != nil {
			return err
		}
		if files[fileReceiptKeys], _, err = withReceiptKey(known, answer.ReceiptKey[:]); err != nil {
			return err
		}
	}
	for name, data := range files {
		if err := p.write(name, data); err != nil {
			return err
		}
	}
	return nil
}

// judge compares the hub's answer with what was asked for.
func judge(token wire.Token, answer wire.Enrolled, key *ecdsa.PrivateKey) (Identity, error) {
	wrong := func(en, zh string, err error) error {
		return &Error{
			What: text("the hub's answer cannot be used: "+en, "hub 的应答不可用："+zh), Err: errors.Join(ErrStranger, err), Hint: freshToken,
		}
	}
	if answer.Store != token.Store {
		return Identity{}, wrong("it is for another store", "属于另一门店", nil)
	}
	if sha256.Sum256(answer.CA) != token.CAHash {
		return Identity{}, wrong("its authority is not the token's", "其根证书与令牌不符", nil)
	}
	ca, err := x509.ParseCertificate(answer.CA)
	if err != nil {
		return Identity{}, wrong("its authority cannot be read", "根证书无法解析", err)
	}
	cert, err := x509.ParseCertificate(answer.Certificate)
	if err != nil {
		return Identity{}, wrong("its certificate cannot be read", "证书无法解析", err)
	}
	if !key.PublicKey.Equal(cert.PublicKey) || cert.Subject.CommonName != token.Store {
		return Identity{}, wrong("its certificate is not for this machine", "证书不属于本机", nil)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	_, err = cert.Verify(x509.VerifyOptions{
		Roots: pool, CurrentTime: answer.LedgerTime.Time(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return Identity{}, wrong("its certificate is not valid", "证书无效", err)
	}
	return Identity{
		Store: answer.Store, Ledger: answer.Ledger, Addresses: answer.Addresses, Terminals: answer.Terminals, EnrolledAt: answer.LedgerTime,
		StoreSecret: answer.StoreSecret, authority: pool, certificate: tls.Certificate{Certificate: [][]byte{answer.Certificate}, PrivateKey: key},
	}, nil
}
