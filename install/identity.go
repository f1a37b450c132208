package install

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"time"

	"tideover"
)

// Identity is what makes a machine a store's edge.
type Identity struct {
	Store       string
	Ledger      [16]byte // every hub of this store keeps this ledger
	Addresses   []string // of the hub, HOST:PORT, as it told them at enrolment
	Terminals   []tideover.Terminal
	EnrolledAt  tideover.Millis // ledger time
	StoreSecret [32]byte        // keys the request and instrument hashes
	QueueKeys   QueueKeys       // seal payloads

	certificate tls.Certificate
	authority   *x509.CertPool
}

// TLS returns the configuration for connections to the hub. now tells the time by which certificates are judged: the last ledger time
// known, since the wall clock may be wrong.
func (id Identity) TLS(now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{id.certificate}, RootCAs: id.authority, Time: now,
	}
}

// identityVersion is the layout of the state directory that this program writes and reads.
const identityVersion = 1

// identityFile is what identity.json says.
type identityFile struct {
	Version    int             `json:"version"`
	Store      string          `json:"store"`
	Ledger     string          `json:"ledger"` // hexadecimal
	Addresses  []string        `json:"addresses"`
	EnrolledAt tideover.Millis `json:"enrolled_at"`
	Terminals  []terminalFile  `json:"terminals"`
	Token      string          `json:"token"` // SHA-256 of the token's secret, hexadecimal
}

type terminalFile struct {
	UID       string          `json:"uid"`
	Name      string          `json:"name"`
	TokenHash string          `json:"token_hash"` // hexadecimal
	Revoked   bool            `json:"revoked,omitempty"`
	PairedAt  tideover.Millis `json:"paired_at"`
}

func (id Identity) file() identityFile {
	f := identityFile{
		Version: identityVersion, Store: id.Store, Ledger: hex.EncodeToString(id.Ledger[:]), Addresses: id.Addresses, EnrolledAt: id.EnrolledAt,
		Terminals: []terminalFile{},
	}
	for _, t := range id.Terminals {
		f.Terminals = append(f.Terminals, terminalFile{t.UID, t.Name, hex.EncodeToString(t.TokenHash[:]), t.Revoked, t.PairedAt})
	}
	return f
}

var errHex = errors.New("not hexadecimal, or of another length")

func unhex(to []byte, s string) error {
	if len(s) != hex.EncodedLen(len(to)) {
		return errHex
	}
	if _, err := hex.Decode(to, []byte(s)); err != nil {
		return errHex
	}
	return nil
}

// fill takes what identity.json says.
func (id *Identity) fill(f identityFile) error {
	id.Store, id.Addresses, id.EnrolledAt = f.Store, f.Addresses, f.EnrolledAt
	if f.Store == "" || len(f.Addresses) == 0 {
		return errors.New("store or addresses are missing")
	}
	for _, t := range f.Terminals {
		to := tideover.Terminal{UID: t.UID, Name: t.Name, Revoked: t.Revoked, PairedAt: t.PairedAt}
		if err := unhex(to.TokenHash[:], t.TokenHash); err != nil {
			return err
		}
		id.Terminals = append(id.Terminals, to)
	}
	return unhex(id.Ledger[:], f.Ledger)
}

// Load reads what Enroll wrote, after it has finished an enrolment that was interrupted when it had been decided. Errors
// are [Error] where a person can act. Whether the certificate is still the store's is for the hub to say: with a wrong one the shop sells
// on, offline, and shows why.
func Load(dir string) (Identity, error) {
	d := stateDir(dir)
	if err := d.finish(); err != nil {
		return Identity{}, err
	}
	return d.load()
}

func (d stateDir) load() (id Identity, err error) {
	if _, err := os.Stat(d.path(fileIdentity)); errors.Is(err, fs.ErrNotExist) {
		return id, d.notEnrolled(err)
	}
	b, err := d.read(fileIdentity)
	if err != nil {
		return id, err
	}
	var f identityFile
	if err := json.Unmarshal(b, &f); err != nil {
		return id, d.damaged(fileIdentity, text("is not JSON", "不是 JSON"), err)
	}
	if f.Version > identityVersion {
		return id, &Error{
			What: text("%s has layout %d; this program knows %d", "%s 的版本为 %d，本程序只支持 %d", d.path(fileIdentity), f.Version, identityVersion),
			Hint: text("run the newer tideover that wrote it", "请使用写入它的较新版本 tideover"), Err: ErrDamaged,
		}
	}
	if err := id.fill(f); err != nil {
		return id, d.damaged(fileIdentity, text("is incomplete", "不完整"), err)
	}
	if id.StoreSecret, err = d.readSecret(fileSecret); err != nil {
		return id, err
	}
	if id.QueueKeys, err = d.queueKeys(); err != nil {
		return id, err
	}
	return id, d.loadCertificates(&id)
}

// peek returns what identity.json says, empty where it cannot be read.
func (d stateDir) peek() (f identityFile) {
	b, err := os.ReadFile(d.path(fileIdentity))
	if err != nil || json.Unmarshal(b, &f) != nil {
		return identityFile{}
	}
	return f
}

func (d stateDir) loadCertificates(id *Identity) error {
	key, err := d.read(fileKey)
	if err != nil {
		return err
	}
	cert, err := d.read(fileCert)
	if err != nil {
		return err
	}
	if id.certificate, err = tls.X509KeyPair(cert, key); err != nil {
		return d.damaged(fileCert, text("and %s do not belong together", "与 %s 不匹配", d.path(fileKey)), err)
	}
	ca, err := d.read(fileCA)
	if err != nil {
		return err
	}
	block, _ := pem.Decode(ca)
	if block == nil {
		return d.damaged(fileCA, text("is not PEM", "不是 PEM"), nil)
	}
	authority, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return d.damaged(fileCA, text("is not a certificate", "不是证书"), err)
	}
	id.authority = x509.NewCertPool()
	id.authority.AddCert(authority)
	return nil
}

func (d stateDir) notEnrolled(err error) error {
	hint := text("enroll it: tideover enroll TOKEN, with a token from `tideover-hub store add NAME`",
		"请注册：tideover enroll 令牌，令牌由 `tideover-hub store add 名称` 输出")
	if d.has(fileQueue) {
		// The journal stays; only who this machine is was lost.
		hint = enrollAgain
	}
	return &Error{
		What: text("%s: this machine is not enrolled", "%s：本机尚未注册", d), Hint: hint, Err: errors.Join(ErrNotEnrolled, err),
	}
}

func (d stateDir) damaged(name string, how tideover.Text, err error) error {
	path := d.path(name)
	e := &Error{
		What: tideover.Text{En: path + " " + how.En, Zh: path + " " + how.Zh}, Hint: enrollAgain, Err: errors.Join(ErrDamaged, err),
	}
	if name == fileQueueKey && d.has(fileQueue) {
		// Another key would not open the journal.
		e.Hint = text("put back the queue.key that belongs to queue.db; payloads cannot be read without it", "请放回与 queue.db 配套的 queue.key；没有它就无法读取其中的内容")
	}
	return e
}
