package hub

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"tideover"
)

// The files of the state directory. All but the lock and run.json make up the hub's identity: each is written once, and one that
// has gone missing later is an error, never made anew.
const (
	fileIdentity  = "hub.json"   // written last when the directory is set up: from then on every other file must be there
	fileCAKey     = "ca.key"     // PEM
	fileCACert    = "ca.crt"     // PEM
	fileServerKey = "server.key" // PEM
	fileServer    = "server.crt" // PEM; made again when it nears its end
	fileQUICKeys  = "quic.key"   // 32 bytes for stateless resets, 32 for address tokens
	fileSealKey   = "ledger.key" // 32 bytes; seals payloads in the ledger
	fileLedger    = "ledger.db"
	fileLock      = "hub.lock"
	fileRun       = "run.json" // what the running hub listens on
)

const keySize = 32

// lockWait is how long a command that holds the lock for an instant is waited for.
const lockWait = 2 * time.Second

// lockDir takes the state directory for this process, until the file is closed or the process ends, however it ends.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, fileLock)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for end := time.Now().Add(lockWait); errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(end); {
		time.Sleep(lockWait / 40)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		holder := make([]byte, 32)
		n, _ := f.ReadAt(holder, 0)
		f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, &Error{
				What: text("lock %s", "无法锁定 %s", path), Err: err,
				Hint: text("state_dir must be on a file system with working locks", "state_dir 必须位于支持文件锁的文件系统上"),
			}
		}
		return nil, &Error{
			What: text("state directory %s: a hub is using it already (process %s)", "状态目录 %s 已被另一个 hub 使用（进程 %s）", dir, holder[:n]), Err: ErrLocked,
			Hint: text("stop that hub first, or give this one another state_dir", "请先停止那个 hub，或为本 hub 另设 state_dir"),
		}
	}
	// The number is for people; the lock alone counts.
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintf(f, "%d", os.Getpid())
	}
	return f, nil
}

// writeFile puts data in place whole or not at all, readable by its owner alone, and syncs it and its directory.
func writeFile(dir, name string, data []byte) error {
	tmp, err := os.CreateTemp(dir, "."+name+".*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Sync()
	}
	if e := tmp.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(tmp.Name(), filepath.Join(dir, name))
	}
	if err == nil {
		err = syncDir(dir)
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// identity is what hub.json says.
type identity struct {
	Version    int       `json:"version"`
	Created    time.Time `json:"created"`
	ReceiptKey string    `json:"receipt_key,omitempty"` // the id of the key that receipts are signed with
}

// identityVersion is the layout of the state directory that this program writes and reads.
const identityVersion = 1

// keyring is the state directory's secrets, opened.
type keyring struct {
	ca     *authority
	server tls.Certificate
	reset  [keySize]byte // stateless resets
	token  [keySize]byte // QUIC address tokens
	seal   [keySize]byte // payloads in the ledger

	receipt ed25519.PrivateKey // see openReceiptKey
}

// isSetUp says whether the directory was set up to its end. Only then may nothing be missing; before that nothing of it was ever
// told to anybody, and what a crash left half done is made again.
func isSetUp(dir string) (bool, error) {
	b, err := os.ReadFile(filepath.Join(dir, fileIdentity))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var id identity
	if err := json.Unmarshal(b, &id); err != nil {
		return false, &Error{
			What: text("%s is damaged", "%s 已损坏", filepath.Join(dir, fileIdentity)), Err: err,
			Hint: text("restore the state directory from a backup", "请从备份恢复状态目录"),
		}
	}
	if id.Version > identityVersion {
		return false, &Error{
			What: text("state directory %s has layout %d; this program knows %d", "状态目录 %s 的版本为 %d，本程序只支持 %d", dir, id.Version, identityVersion),
			Hint: text("run the newer tideover-hub that wrote it", "请使用写入它的较新版本 tideover-hub"),
		}
	}
	return true, nil
}

// setUp writes the keys of a fresh state directory.
func setUp(dir string, now time.Time) error {
	caKey, err := newKey()
	if err != nil {
		return err
	}
	ca, err := newAuthority(caKey, now)
	if err != nil {
		return err
	}
	if err := writeKey(dir, fileCAKey, caKey); err != nil {
		return err
	}
	if err := writeCert(dir, fileCACert, ca.cert); err != nil {
		return err
	}
	if err := writeServer(dir, ca, now); err != nil {
		return err
	}
	secret := make([]byte, 3*keySize)
	_, _ = rand.Read(secret) // never fails
	if err := writeFile(dir, fileQUICKeys, secret[:2*keySize]); err != nil {
		return err
	}
	return writeFile(dir, fileSealKey, secret[2*keySize:])
}

// finish marks the directory as set up.
func finish(dir string, now time.Time, receipts tideover.KeyID) error {
	return writeIdentity(dir, identity{Version: identityVersion, Created: now.UTC(), ReceiptKey: receipts.String()})
}

func writeIdentity(dir string, id identity) error {
	b, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return writeFile(dir, fileIdentity, append(b, '\n'))
}

func writeServer(dir string, ca *authority, now time.Time) error {
	key, err := newKey()
	if err != nil {
		return err
	}
	cert, err := ca.server(key, now)
	if err != nil {
		return err
	}
	if err := writeKey(dir, fileServerKey, key); err != nil {
		return err
	}
	return writeCert(dir, fileServer, cert)
}

func writeKey(dir, name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(dir, name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

func writeCert(dir, name string, cert *x509.Certificate) error {
	return writeFile(dir, name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}))
}

// openKeyring reads the secrets of a directory that is set up, and makes the hub's own certificate again where less than a third of
// its life is left or the authority did not sign it.
func openKeyring(dir string, now time.Time) (*keyring, error) {
	var k keyring
	caKey, err := readKey[*ecdsa.PrivateKey](dir, fileCAKey, "ECDSA")
	if err != nil {
		return nil, err
	}
	caCert, err := readCert(dir, fileCACert)
	if err != nil {
		return nil, err
	}
	if pub, ok := caCert.PublicKey.(*ecdsa.PublicKey); !ok || !pub.Equal(&caKey.PublicKey) {
		return nil, &Error{
			What: text("%s and %s in %s do not belong together", "%s 与 %s（位于 %s）不匹配", fileCAKey, fileCACert, dir),
			Hint: text("restore both from one backup of the state directory: every edge trusts this certificate", "请从同一份备份中恢复这两个文件：所有门店都信任该证书"),
		}
	}
	k.ca = &authority{cert: caCert, key: caKey}
	quicKeys, err := readSecret(dir, fileQUICKeys, 2*keySize)
	if err != nil {
		return nil, err
	}
	copy(k.reset[:], quicKeys)
	copy(k.token[:], quicKeys[keySize:])
	sealKey, err := readSecret(dir, fileSealKey, keySize)
	if err != nil {
		return nil, err
	}
	copy(k.seal[:], sealKey)
	k.server, err = openServer(dir, k.ca, now)
	return &k, err
}

// openServer reads the hub's own certificate. It is no one's anchor: what does not serve any more is made again.
func openServer(dir string, ca *authority, now time.Time) (tls.Certificate, error) {
	if c, ok := readServer(dir, ca, now); ok {
		return c, nil
	}
	if err := writeServer(dir, ca, now); err != nil {
		return tls.Certificate{}, fmt.Errorf("make the hub's certificate: %w", err)
	}
	c, ok := readServer(dir, ca, now)
	if !ok {
		return c, &Error{
			What: text("%s does not verify although it was just made", "%s 刚刚生成却无法通过验证", filepath.Join(dir, fileServer)),
			Hint: text("check this machine's clock: the hub's CA may not be valid at the present time", "请检查本机时钟：hub 的 CA 证书在当前时间可能无效"),
		}
	}
	return c, nil
}

func readServer(dir string, ca *authority, now time.Time) (tls.Certificate, bool) {
	key, err := readKey[*ecdsa.PrivateKey](dir, fileServerKey, "ECDSA")
	if err != nil {
		return tls.Certificate{}, false
	}
	cert, err := readCert(dir, fileServer)
	if err != nil {
		return tls.Certificate{}, false
	}
	pub, ok := cert.PublicKey.(*ecdsa.PublicKey)
	_, err = cert.Verify(x509.VerifyOptions{Roots: ca.pool(), CurrentTime: now, DNSName: cert.Subject.CommonName})
	if !ok || !pub.Equal(&key.PublicKey) || err != nil || cert.NotAfter.Sub(now) < serverLife/3 {
		return tls.Certificate{}, false
	}
	// The authority is sent along: an enrolling edge knows only its fingerprint.
	return tls.Certificate{Certificate: [][]byte{cert.Raw, ca.cert.Raw}, PrivateKey: key, Leaf: cert}, true
}

// readFile reads one file of the identity; a missing one is never made anew.
func readFile(dir, name string) ([]byte, error) {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &Error{
			What: text("%s is missing", "缺少 %s", filepath.Join(dir, name)), Err: err,
			Hint: text("restore the state directory from a backup; a new one would cut off every enrolled store", "请从备份恢复状态目录；重新生成会使所有已注册门店断开"),
		}
	}
	return b, err
}

func readPEM(dir, name, kind string) ([]byte, error) {
	b, err := readFile(dir, name)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, damaged(dir, name, nil)
	}
	return block.Bytes, nil
}

func damaged(dir, name string, err error) error {
	return &Error{
		What: text("%s is damaged", "%s 已损坏", filepath.Join(dir, name)), Err: err,
		Hint: text("restore it from a backup of the state directory", "请从状态目录的备份中恢复它"),
	}
}

// private refuses a secret that others on this machine can read.
func private(dir, name string) error {
	path := filepath.Join(dir, name)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o077 == 0 {
		return nil // one that is missing is told of when it is read
	}
	return &Error{
		What: text("%s can be read by others (mode %04o)", "%s 可被其他用户读取（权限 %04o）", path, info.Mode().Perm()),
		Hint: text("chmod 600 %s; if strangers may have read it, every store has to be enrolled again with a new one",
			"请执行 chmod 600 %s；如可能已泄露，需更换并重新注册所有门店", path),
	}
}

// readKey reads a private key of one kind, which is named in complaints.
func readKey[K any](dir, name, kind string) (key K, err error) {
	if err := private(dir, name); err != nil {
		return key, err
	}
	der, err := readPEM(dir, name, "PRIVATE KEY")
	if err != nil {
		return key, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return key, damaged(dir, name, err)
	}
	key, ok := k.(K)
	if !ok {
		return key, damaged(dir, name, fmt.Errorf("not an %s key", kind))
	}
	return key, nil
}

func readCert(dir, name string) (*x509.Certificate, error) {
	der, err := readPEM(dir, name, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, damaged(dir, name, err)
	}
	return cert, nil
}

func readSecret(dir, name string, size int) ([]byte, error) {
	if err := private(dir, name); err != nil {
		return nil, err
	}
	b, err := readFile(dir, name)
	if err != nil {
		return nil, err
	}
	if len(b) != size {
		return nil, damaged(dir, name, fmt.Errorf("%d bytes, want %d", len(b), size))
	}
	return b, nil
}
