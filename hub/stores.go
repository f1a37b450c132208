package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"net"
	"regexp"
	"time"

	"tideover"
	"tideover/hub/ledger"
	"tideover/wire"
)

// stores is who may connect: the commands on stores, and enrolment. It serves a running hub and, without one, the commands alone.
type stores struct {
	state  *state
	config Config

	// Of a running hub; nil otherwise.
	bound     *net.UDPAddr
	connected func(store string) (n int, heard tideover.Millis)
	ended     func(store string, keep [32]byte, why string) // closes connections whose certificate is not keep
}

// storeName is what a store may be called: it is a certificate's common name, which RFC 5280 bounds to 64 characters.
var storeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkName(name string) error {
	if storeName.MatchString(name) && tideover.FindCardData(name) == tideover.CardNone {
		return nil
	}
	return &Error{
		What: text("%q cannot be a store's name", "%q 不能作为门店名称", name),
		Hint: text("use 1 to 64 of A-Z a-z 0-9 . _ -, beginning with a letter or digit, and no card number", "请使用 1 至 64 个字符：A-Z a-z 0-9 . _ -，以字母或数字开头，且不得为卡号"),
	}
}

func unknownStore(name string) error {
	return &Error{
		What: text("there is no store %q", "没有门店 %q", name), Exit: ExitRefused,
		Hint: text("`tideover-hub store list` names them, `tideover-hub store add %s` adds it", "用 `tideover-hub store list` 查看，用 `tideover-hub store add %s` 新增", name),
	}
}

// Add makes a store and its first token.
func (s *stores) Add(ctx context.Context, name string, life time.Duration) (NewToken, error) {
	if err := checkName(name); err != nil {
		return NewToken{}, err
	}
	return s.issue(name, life, func(issue func(*ledger.Store)) error {
		row := ledger.Store{Name: name}
		_, _ = rand.Read(row.Secret[:]) // never fails
		issue(&row)
		err := s.state.ledger.AddStore(ctx, row)
		if errors.Is(err, ledger.ErrStoreExists) {
			return &Error{
				What: text("there is a store %q already", "门店 %q 已存在", name), Exit: ExitRefused,
				Hint: text("`tideover-hub store rotate %s` prints a fresh token for it", "用 `tideover-hub store rotate %s` 为其输出新令牌", name),
			}
		}
		return err
	})
}

// Rotate gives a store a fresh token. Its certificate stays valid until the token is used.
func (s *stores) Rotate(ctx context.Context, name string, life time.Duration) (NewToken, error) {
	return s.issue(name, life, func(issue func(*ledger.Store)) error { return s.update(ctx, name, issue) })
}

// issue makes a token that keep commits. What the token will say is checked before.
func (s *stores) issue(name string, life time.Duration, keep func(issue func(*ledger.Store)) error) (NewToken, error) {
	if life == 0 {
		life = TokenLife
	}
	if life < tokenLifeMin || life > tokenLifeMax {
		return NewToken{}, &Error{
			What: text("a token cannot live for %s", "令牌有效期不能为 %s", life),
			Hint: text("give at least %s and at most %s", "请设为 %s 至 %s 之间", tokenLifeMin, tokenLifeMax),
		}
	}
	addresses, err := s.config.addresses(s.bound)
	if err != nil {
		return NewToken{}, err
	}
	t := wire.Token{Store: name, Addresses: addresses, CAHash: s.state.keys.ca.hash()}
	_, _ = rand.Read(t.Secret[:]) // never fails
	expires := s.state.ledger.Now().Add(life)
	if err := keep(func(row *ledger.Store) { row.Issue(sha256.Sum256(t.Secret[:]), expires) }); err != nil {
		return NewToken{}, err
	}
	return NewToken{Store: name, Token: t.String(), ExpiresAt: expires, Addresses: addresses}, nil
}

// update changes a store's row.
func (s *stores) update(ctx context.Context, name string, change func(*ledger.Store)) error {
	err := s.state.ledger.ChangeStore(ctx, name, func(row *ledger.Store, _ tideover.Millis) error {
		change(row)
		return nil
	})
	if errors.Is(err, ledger.ErrStoreUnknown) {
		return unknownStore(name)
	}
	return err
}

// Revoke ends a store's certificate, its token and its connections.
func (s *stores) Revoke(ctx context.Context, name string) (Store, error) {
	if err := s.update(ctx, name, (*ledger.Store).Revoke); err != nil {
		return Store{}, err
	}
	if s.ended != nil {
		s.ended(name, [32]byte{}, "the store was revoked")
	}
	return s.Show(ctx, name)
}

// Show returns one store.
func (s *stores) Show(_ context.Context, name string) (Store, error) {
	row, err := s.state.ledger.Store(name)
	if errors.Is(err, ledger.ErrStoreUnknown) {
		return Store{}, unknownStore(name)
	}
	if err != nil {
		return Store{}, err
	}
	return s.view(row)
}

// List returns all stores.
func (s *stores) List(context.Context) (StoreList, error) {
	rows, err := s.state.ledger.Stores()
	if err != nil {
		return StoreList{}, err
	}
	list := StoreList{Stores: []Store{}}
	for _, row := range rows {
		v, err := s.view(row)
		if err != nil {
			return StoreList{}, err
		}
		list.Stores = append(list.Stores, v)
	}
	return list, nil
}

// view is a row as commands show it.
func (s *stores) view(row ledger.Store) (Store, error) {
	v := Store{
		Store: row.Name, State: stateOf(row, s.state.ledger.Now()), CreatedAt: row.CreatedAt, HeardAt: row.HeardAt,
		AnchorSeq: row.AnchorSeq, HubSeq: row.HubSeq, Terminals: []tideover.Terminal{}, LostAt: row.LostAt,
		Forgetful: row.Forgetful(s.state.ledger.History()),
	}
	if row.AnchorSeq != 0 {
		v.AnchorHead = hex.EncodeToString(row.AnchorHead[:])
	}
	if row.Token.Hash != [32]byte{} && row.Token.UsedBy == [32]byte{} {
		v.TokenExpiresAt = row.Token.ExpiresAt
	}
	if c := row.Certificate; c.Fingerprint != [32]byte{} {
		v.Certificate, v.EnrolledAt, v.NotAfter = hex.EncodeToString(c.Fingerprint[:]), c.IssuedAt, c.NotAfter
	}
	if row.Incarnation != [16]byte{} {
		v.Incarnation = hex.EncodeToString(row.Incarnation[:])
	}
	if s.connected != nil {
		var heard tideover.Millis
		v.Connections, heard = s.connected(row.Name)
		v.HeardAt = max(v.HeardAt, heard)
	}
	terminals, err := s.state.ledger.Terminals(row.Name)
	if err != nil {
		return Store{}, err
	}
	v.Terminals = append(v.Terminals, terminals...)
	v.Outbox, err = s.state.ledger.OutboxLen(row.Name)
	return v, err
}

func stateOf(row ledger.Store, now tideover.Millis) StoreState {
	switch {
	case row.Certificate.Fingerprint != [32]byte{}:
		return StoreEnrolled
	case row.Token.Hash != [32]byte{} && now < row.Token.ExpiresAt:
		return StoreAwaiting
	case row.Revoked:
		return StoreRevoked
	}
	return StoreLapsed
}

// enrol redeems a token. An [Error] says why it is not done; anything else is the ledger's failure.
func (s *stores) enrol(ctx context.Context, ask wire.Enroll) (wire.Enrolled, error) {
	key, err := parseCSR(ask.CSR)
	if err != nil {
		return wire.Enrolled{}, &Error{
			What: text("the certificate request is not taken", "证书请求被拒绝"), Err: err,
			Hint: text("enrol with the tideover program", "请使用 tideover 程序注册"),
		}
	}
	addresses, err := s.config.addresses(s.bound)
	if err != nil {
		return wire.Enrolled{}, err
	}
	hash := sha256.Sum256(ask.Secret[:])
	name, err := s.state.ledger.StoreOfToken(hash)
	if err != nil {
		return wire.Enrolled{}, tokenError("NAME", err)
	}
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return wire.Enrolled{}, err
	}
	cert, err := s.state.keys.ca.store(name, key, s.state.ledger.Now().Time())
	if err != nil {
		return wire.Enrolled{}, err
	}
	fresh := ledger.Certificate{
		Fingerprint: fingerprint(cert.Raw), DER: cert.Raw, IssuedAt: s.state.ledger.Now(), NotAfter: tideover.MillisOf(cert.NotAfter),
	}
	var given ledger.Certificate
	err = s.state.ledger.ChangeStore(ctx, name, func(r *ledger.Store, now tideover.Millis) (err error) {
		given, err = r.Redeem(hash, fingerprint(der), fresh, now)
		return err
	})
	if err != nil {
		return wire.Enrolled{}, tokenError(name, err)
	}
	if s.ended != nil {
		s.ended(name, given.Fingerprint, "another machine was enrolled as this store")
	}
	row, err := s.state.ledger.Store(name)
	if err != nil {
		return wire.Enrolled{}, err
	}
	terminals, err := s.state.ledger.Terminals(name)
	if err != nil {
		return wire.Enrolled{}, err
	}
	return wire.Enrolled{
		Store: name, Certificate: given.DER, CA: s.state.keys.ca.cert.Raw, StoreSecret: row.Secret, Ledger: s.state.ledger.ID(),
		Addresses: addresses, Terminals: terminals, LedgerTime: s.state.ledger.Now(),
		ReceiptKey: s.state.keys.receiptKey(),
	}, nil
}

// tokenError says why a token is not taken; other errors pass.
func tokenError(store string, err error) error {
	hint := text("print a fresh one with `tideover-hub store rotate %s`", "请用 `tideover-hub store rotate %s` 输出新令牌", store)
	switch {
	case errors.Is(err, ledger.ErrTokenUnknown):
		return &Error{What: text("the token is unknown here, or a newer one took its place", "令牌未知，或已被更新的令牌取代"), Hint: hint, Err: err}
	case errors.Is(err, ledger.ErrTokenUsed):
		return &Error{What: text("the token was used already", "令牌已被使用"), Hint: hint, Err: err}
	case errors.Is(err, ledger.ErrTokenExpired):
		return &Error{What: text("the token has expired", "令牌已过期"), Hint: hint, Err: err}
	}
	return err
}

// errReplaced: the store has been enrolled since the certificate was given, by another machine: a router is enrolled while its daemon is stopped.
var errReplaced = errors.New("a later enrolment has taken the certificate's place")

// admits says whether a certificate speaks for a store now: nil, an [Error], or the ledger's failure. One that was issued before the one that
// does is of a router that was replaced, [errReplaced]; one that was issued after it is a ledger's that was put back, and ends nothing.
func (s *stores) admits(store string, cert [32]byte, issued tideover.Millis) error {
	row, err := s.state.ledger.Store(store)
	if err == nil {
		err = row.Admits(cert)
	}
	if errors.Is(err, ledger.ErrRevoked) && !row.Revoked && row.Certificate.IssuedAt > issued {
		return &Error{
			What: text("store %s was enrolled again since this router was", "门店 %s 在本路由器之后已重新注册", store), Err: errReplaced,
			Hint: text("stop this router and point its tills at the other, or enrol this one anew with a token from `tideover-hub store rotate %s`",
				"请停用本路由器，并将终端连接到另一台；或用 `tideover-hub store rotate %s` 的新令牌重新注册本机", store),
		}
	}
	if errors.Is(err, ledger.ErrRevoked) || errors.Is(err, ledger.ErrStoreUnknown) {
		return &Error{
			What: text("the certificate of store %s is no longer valid", "门店 %s 的证书已失效", store), Err: err,
			Hint: text("enrol anew with a token from `tideover-hub store rotate %s`", "请用 `tideover-hub store rotate %s` 的新令牌重新注册", store),
		}
	}
	return err
}

// Transaction returns what the ledger has of an id.
func (s *stores) Transaction(_ context.Context, id tideover.ID) (TransactionList, error) {
	rows, err := s.state.ledger.Find(id)
	if err != nil {
		return TransactionList{}, err
	}
	var list TransactionList
	for _, r := range rows {
		list.Transactions = append(list.Transactions, transactionView(r))
	}
	if len(rows) == 0 {
		return list, &Error{
			What: text("the ledger has no transaction %s", "账本中没有交易 %s", id), Exit: ExitRefused,
			Hint: text("the edge may not have sent it: `tideover queue show %s` on the router tells", "可能尚未由门店发送：请在路由器上用 `tideover queue show %s` 查看", id),
		}
	}
	return list, nil
}

func transactionView(r ledger.Row) TransactionView {
	q := r.Request.Request
	v := TransactionView{
		ID: r.ID, Store: r.Store, Terminal: r.Request.Terminal, Key: r.Request.Key, Kind: q.Kind.String(), Amount: q.Amount,
		Currency: q.Currency, Order: q.Order, State: r.State.String(), Why: r.Why, CancelAsked: r.CancelAsked, HubSeq: r.HubSeq,
		Acknowledged: r.Acked, Corrected: r.Corrected, CreatedAt: r.CreatedAt, UpdatedAt: r.UpdatedAt, ExpiresAt: r.ExpiresAt,
	}
	if !q.Original.IsZero() {
		v.Original = &q.Original
	}
	if r.Ended() {
		v.Outcome = &r.Outcome
	}
	return v
}
