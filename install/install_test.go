package install

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"tideover"
	"tideover/wire"
)

func enroll(t *testing.T, dir, token string) (Identity, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	return Enroll(ctx, Options{Token: token, StateDir: dir})
}

// content returns every file of a directory.
func content(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	check(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, dir+"/")] = string(b)
		return err
	}))
	return all
}

// wants checks that an error is of a kind and tells a person what to do, in both languages.
func wants(t *testing.T, err, want error) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !errors.Is(err, want) || !ok {
		t.Fatalf("%v; want %v", err, want)
	}
	what, hint := e.Explain()
	for _, s := range []string{what.En, what.Zh, hint.En, hint.Zh} {
		if s == "" || strings.Contains(s, "%!") {
			t.Errorf("said badly: %q", s)
		}
	}
}

func TestEnroll_WritesAnIdentity(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := filepath.Join(t.TempDir(), "deep", "state")
	id, err := enroll(t, dir, h.token.String())
	check(t, err)
	loaded, err := Load(dir)
	check(t, err)
	for _, id := range []Identity{id, loaded} {
		want := []tideover.Terminal{{UID: "u1", Name: "till-1", TokenHash: [32]byte{7}, PairedAt: 0}, {UID: "u2", Name: "till-2", Revoked: true}}
		want[0].PairedAt = 8
		if id.Store != "shop-0001" || id.Ledger != [16]byte{6} || id.StoreSecret != [32]byte{5} || id.EnrolledAt != tideover.MillisOf(ledgerTime) ||
			!reflect.DeepEqual(id.Addresses, []string{h.addr}) || !reflect.DeepEqual(id.Terminals, want) || len(id.QueueKeys.All) != 1 {
			t.Errorf("%+v", id)
		}
		c := id.TLS(func() time.Time { return ledgerTime })
		if len(c.Certificates) != 1 || c.RootCAs == nil || !c.Time().Equal(ledgerTime) {
			t.Errorf("%+v", c)
		}
		leaf, err := x509.ParseCertificate(c.Certificates[0].Certificate[0])
		if err != nil || leaf.Subject.CommonName != "shop-0001" {
			t.Error(leaf, err)
		}
	}
	if !reflect.DeepEqual(id.QueueKeys, loaded.QueueKeys) {
		t.Error("two queue keys")
	}
	files := content(t, dir)
	if len(files) != len(moved) {
		t.Errorf("left behind: %d files", len(files))
	}
	for name := range files {
		info, err := os.Stat(filepath.Join(dir, name))
		check(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Error(info.Mode(), err)
	}
}

// TestEnroll_Refuses: whatever is wrong, the error says so and the directory is as it was.
func TestEnroll_Refuses(t *testing.T) {
	h, other := newHub(t, "shop-0001"), newHub(t, "shop-0001")
	otherHub := h.token
	otherHub.Addresses = []string{other.addr}
	nobody := h.token
	nobody.Addresses = []string{deadAddress(t)}
	unknown := h.token
	unknown.Secret[0] ^= 1
	for _, c := range []struct {
		name   string
		token  string
		answer func(*wire.Enrolled)
		want   error
	}{
		{"no token", "tov1.AAAA", nil, wire.ErrBadToken},
		{"a token not copied whole", h.token.String()[:60], nil, wire.ErrBadToken},
		{"another hub at the address", otherHub.String(), nil, ErrStranger},
		{"nobody at the address", nobody.String(), nil, ErrUnreachable},
		{"an unknown token", unknown.String(), nil, ErrToken},
		{"another store's certificate", h.token.String(), func(e *wire.Enrolled) { e.Store = "shop-0002" }, ErrStranger},
		{"another authority", h.token.String(), func(e *wire.Enrolled) { e.CA = other.ca.Raw }, ErrStranger},
		{"another key's certificate", h.token.String(), func(e *wire.Enrolled) { e.Certificate = other.ca.Raw }, ErrStranger},
		{"a certificate that is no certificate", h.token.String(), func(e *wire.Enrolled) { e.Certificate = []byte{1} }, ErrStranger},
		{"a certificate out of date", h.token.String(), func(e *wire.Enrolled) { e.LedgerTime = 1 }, ErrStranger},
	} {
		t.Run(c.name, func(t *testing.T) {
			h.rotate()
			h.lie(c.answer)
			defer h.lie(nil)
			token := c.token
			if c.answer != nil {
				token = h.token.String()
			}
			dir := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := Enroll(ctx, Options{Token: token, StateDir: dir})
			wants(t, err, c.want)
			if strings.Contains(err.Error(), token) {
				t.Error("the error shows the token")
			}
			_, err = Load(dir)
			wants(t, err, ErrNotEnrolled)
		})
	}
}

func TestEnroll_UsedToken(t *testing.T) {
	h := newHub(t, "shop-0001")
	_, err := enroll(t, t.TempDir(), h.token.String())
	check(t, err)
	_, err = enroll(t, t.TempDir(), h.token.String())
	wants(t, err, ErrToken)
	if !strings.Contains(err.Error(), "the token was used already") || !strings.Contains(err.Error(), "store rotate") {
		t.Error(err)
	}
}

// TestEnroll_SameTokenOnTheSameMachine: who did not see the first answer, or that it was carried out, may ask again.
func TestEnroll_SameTokenOnTheSameMachine(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	_, err := enroll(t, dir, h.token.String())
	check(t, err)
	before := content(t, dir)
	_, err = enroll(t, dir, h.token.String())
	check(t, err)
	if after := content(t, dir); after[fileKey] != before[fileKey] {
		t.Error("another key")
	}
	if h.calls() != 2 {
		t.Error("the hub was not asked whether the certificate still holds")
	}
}

func TestEnroll_AnotherAddressAnswers(t *testing.T) {
	h := newHub(t, "shop-0001")
	h.token.Addresses = []string{"no-such-host.invalid:1", h.addr}
	_, err := enroll(t, t.TempDir(), h.token.String())
	check(t, err)
}

func TestEnroll_StoreOfTheConfiguration(t *testing.T) {
	h := newHub(t, "shop-0001")
	_, err := Enroll(t.Context(), Options{Token: h.token.String(), StateDir: t.TempDir(), Store: "shop-0009"})
	wants(t, err, ErrOtherStore)
	if h.calls() != 0 {
		t.Error("the hub was asked")
	}
}

// TestEnroll_SameStoreAgain: the journal of a rotated store stays readable.
func TestEnroll_SameStoreAgain(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	first, err := enroll(t, dir, h.token.String())
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, fileQueue), []byte("a journal"), 0o600))
	before := content(t, dir)
	refused := h.token
	refused.Secret[0] ^= 1
	_, err = enroll(t, dir, refused.String())
	wants(t, err, ErrToken)
	if !reflect.DeepEqual(identityOf(content(t, dir)), identityOf(before)) {
		t.Error("a refused enrolment changed the machine")
	}
	h.rotate()
	second, err := enroll(t, dir, h.token.String())
	check(t, err)
	after := content(t, dir)
	if !reflect.DeepEqual(second.QueueKeys, first.QueueKeys) || after[fileQueue] != "a journal" {
		t.Error("the journal or its key was lost")
	}
	if after[fileKey] == before[fileKey] || after[fileCert] == before[fileCert] {
		t.Error("the key is still the old one")
	}
}

// identityOf leaves out what an attempt keeps for the next one.
func identityOf(files map[string]string) map[string]string {
	for name := range files {
		if strings.HasPrefix(name, dirPreparing) {
			delete(files, name)
		}
	}
	return files
}

func TestEnroll_AnotherStoresJournal(t *testing.T) {
	h, other := newHub(t, "shop-0001"), newHub(t, "shop-0002")
	dir := t.TempDir()
	first, err := enroll(t, dir, h.token.String())
	check(t, err)
	check(t, os.WriteFile(filepath.Join(dir, fileQueue), nil, 0o600))
	_, err = enroll(t, dir, other.token.String())
	wants(t, err, ErrOtherStore)
	if other.calls() != 0 {
		t.Error("the token was used up")
	}
	if id, err := Load(dir); err != nil || id.Store != "shop-0001" {
		t.Error(id.Store, err)
	}
	check(t, os.Remove(filepath.Join(dir, fileQueue)))
	id, err := enroll(t, dir, other.token.String())
	check(t, err)
	if id.Store != "shop-0002" || reflect.DeepEqual(id.QueueKeys, first.QueueKeys) {
		t.Error("the other store's key was kept")
	}
}

func TestEnroll_JournalWithoutItsKey(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	check(t, os.WriteFile(filepath.Join(dir, fileQueue), []byte("a journal"), 0o600))
	_, err := enroll(t, dir, h.token.String())
	wants(t, err, ErrNoQueueKey)
	if h.calls() != 0 {
		t.Error("the token was used up")
	}
	// With the key, and everything else lost, it is the store's edge again.
	key := bytes.Repeat([]byte{9}, secretSize)
	check(t, os.WriteFile(filepath.Join(dir, fileQueueKey), key, 0o600))
	id, err := enroll(t, dir, h.token.String())
	check(t, err)
	if !bytes.Equal(id.QueueKeys.All[0][:], key) {
		t.Error("another key")
	}
}

func TestEnroll_TwoAtOnce(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	lock, err := stateDir(dir).lock()
	check(t, err)
	_, err = enroll(t, dir, h.token.String())
	wants(t, err, ErrInUse)
	check(t, lock.Close())
	_, err = enroll(t, dir, h.token.String())
	check(t, err)
}

func TestLoad_TellsDamage(t *testing.T) {
	h := newHub(t, "shop-0001")
	good := t.TempDir()
	_, err := enroll(t, good, h.token.String())
	check(t, err)
	for _, name := range moved {
		if name == fileReceiptKeys { // a shop sells without it
			continue
		}
		for _, c := range []struct {
			what string
			do   func(path string) error
		}{
			{"missing", os.Remove},
			{"empty", func(path string) error { return os.WriteFile(path, nil, 0o600) }},
			{"cut", func(path string) error { return os.Truncate(path, 20) }},
			{"text", func(path string) error { return os.WriteFile(path, []byte("this is not it\n"), 0o600) }},
		} {
			t.Run(name+" "+c.what, func(t *testing.T) {
				dir := filepath.Join(t.TempDir(), "copy")
				check(t, os.CopyFS(dir, os.DirFS(good)))
				for _, f := range moved {
					check(t, os.Chmod(filepath.Join(dir, f), 0o600))
				}
				check(t, c.do(filepath.Join(dir, name)))
				_, err := Load(dir)
				want := ErrDamaged
				if name == fileIdentity && c.what == "missing" {
					want = ErrNotEnrolled
				}
				wants(t, err, want)
				if !strings.Contains(err.Error(), dir) {
					t.Errorf("does not name the file: %v", err)
				}
			})
		}
	}
	t.Run("exposed", func(t *testing.T) {
		check(t, os.Chmod(filepath.Join(good, fileQueueKey), 0o644))
		_, err := Load(good)
		wants(t, err, ErrExposed)
	})
}

// TestLoad_FinishesADecidedEnrolment ends an enrolment over an earlier one between each two renames: from the first on the machine
// is the new one, before it the old one.
func TestLoad_FinishesADecidedEnrolment(t *testing.T) {
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	_, err := enroll(t, dir, h.token.String())
	check(t, err)
	h.rotate()
	for died := range len(moved) + 1 {
		again := filepath.Join(t.TempDir(), "again")
		check(t, os.CopyFS(again, os.DirFS(dir)))
		for _, f := range moved {
			check(t, os.Chmod(filepath.Join(again, f), 0o600))
		}
		d := stateDir(again)
		h.rotate()
		key, err := d.attempt(h.token)
		check(t, err)
		csr, err := x509.CreateCertificateRequest(nil, &x509.CertificateRequest{}, key)
		check(t, err)
		answer, err := ask(t.Context(), h.token, wire.Enroll{Secret: h.token.Secret, CSR: csr})
		check(t, err)
		answer.StoreSecret = [32]byte{byte(died + 100)}
		id, err := judge(h.token, answer, key)
		check(t, err)
		check(t, d.prepare(id, tokenMark(h.token), answer, false))
		if old, err := Load(again); err != nil || old.StoreSecret != [32]byte{5} {
			t.Fatalf("before it was decided: %v, %v", old.StoreSecret[0], err)
		}
		check(t, d.decide())
		for _, name := range moved[:died] {
			check(t, os.Rename(d.path(dirDecided, name), d.path(name)))
		}
		loaded, err := Load(again)
		check(t, err)
		if loaded.StoreSecret != answer.StoreSecret || !key.Equal(loaded.certificate.PrivateKey) || d.has(dirDecided) || d.has(dirPreparing) {
			t.Errorf("died after %d renames: the machine is not the new one", died)
		}
	}
}

// TestEnroll_Killed ends the process by SIGKILL at instants spread over an enrolment, again and again over the same directory and
// token: the machine is enrolled wholly or not at all, and the last try succeeds.
func TestEnroll_Killed(t *testing.T) {
	if token := os.Getenv("TIDEOVER_TEST_TOKEN"); token != "" {
		_, err := Enroll(t.Context(), Options{Token: token, StateDir: os.Getenv("TIDEOVER_TEST_DIR")})
		check(t, err)
		return
	}
	h := newHub(t, "shop-0001")
	dir := t.TempDir()
	kills := 0
	for i := range 40 {
		if i%8 == 0 { // from the beginning
			h.rotate()
			check(t, os.RemoveAll(dir))
		}
		child := exec.Command(os.Args[0], "-test.run", "^TestEnroll_Killed$")
		child.Env = append(os.Environ(), "TIDEOVER_TEST_TOKEN="+h.token.String(), "TIDEOVER_TEST_DIR="+dir)
		check(t, child.Start())
		kill := time.AfterFunc(time.Duration(i)*time.Millisecond*2, func() { _ = child.Process.Kill() })
		if err := child.Wait(); err == nil {
			kill.Stop()
			_, err := Load(dir)
			check(t, err)
			continue
		}
		kills++
		if _, err := Load(dir); err != nil && !errors.Is(err, ErrNotEnrolled) {
			t.Fatalf("after kill %d: %v", i, err)
		}
	}
	_, err := enroll(t, dir, h.token.String())
	check(t, err)
	t.Logf("%d kills", kills)
}
