package main

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tideover"
	"tideover/control"
	"tideover/install"
)

// hubKey signs this shop's receipts.
var hubKey = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

// soldReceipt is what its till was handed.
func soldReceipt() tideover.Receipt {
	d, err := shop{}.Show(context.Background(), saleID)
	if err != nil {
		panic(err)
	}
	r := tideover.ReceiptOf("shop-0001", d.Transaction.Transaction)
	r.Sign(hubKey)
	return r
}

func (s shop) Receipt(_ context.Context, id tideover.ID) (tideover.Receipt, error) {
	if id != saleID {
		return tideover.Receipt{}, control.Unknown(id.String())
	}
	return soldReceipt(), nil
}

// Compare implements control.Backend: on a bad day the sale was reversed meanwhile.
func (s shop) Compare(_ context.Context, r tideover.Receipt) (control.Comparison, error) {
	if r.ID != saleID {
		return control.Comparison{}, control.Unknown(r.ID.String())
	}
	record := soldReceipt()
	if !s.well {
		record.State = tideover.StateReversed
	}
	return control.Comparison{State: record.State, Differs: tideover.CompareReceipts(r, record)}, nil
}

// A receipt is printed as it is read back, in both languages; its short id will do.
func TestReceiptShow(t *testing.T) {
	shop{well: true}.open(t)
	for _, lang := range []tideover.Lang{tideover.English, tideover.Chinese} {
		status, out, words := call(t, "receipt", "show", saleID.String()[:6], "--lang", string(lang))
		if status != exitWell || out != soldReceipt().Text(lang) || words != "" {
			t.Errorf("%s: status %d\n%s%s", lang, status, out, words)
		}
	}
	_, out, _ := call(t, "receipt", "show", saleID.String(), "--json")
	if r, err := tideover.ParseReceipt([]byte(out)); err != nil || r != soldReceipt() {
		t.Errorf("%v in %s", err, out)
	}
	status, out, words := call(t, "receipt", "show", tideover.MakeID("x", "y", "z").String())
	if status != exitRefused || out != "" || !strings.Contains(words, "hint:") {
		t.Errorf("unknown: status %d\n%s%s", status, out, words)
	}
}

// wallet is a folder with receipts and keys, and the state directory that the program is pointed at.
type wallet struct{ dir string }

func newWallet(t *testing.T) wallet {
	t.Helper()
	w := wallet{t.TempDir()}
	t.Setenv("TIDEOVER_STATE_DIR", filepath.Join(w.dir, "state"))
	if err := os.Mkdir(filepath.Join(w.dir, "state"), 0o700); err != nil {
		t.Fatal(err)
	}
	return w
}

// put writes a file and returns its path.
func (w wallet) put(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func receiptJSON(t *testing.T, r tideover.Receipt) string {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestReceiptVerify(t *testing.T) {
	public := hubKey.Public().(ed25519.PublicKey)
	good := soldReceipt()
	whole := receiptJSON(t, good)
	stranger := good
	stranger.Sign(ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), 1)))
	elsewhere := good
	elsewhere.ID = tideover.MakeID("x", "y", "z")
	elsewhere.Sign(hubKey)

	for _, well := range []bool{true, false} {
		w := newWallet(t)
		shop{well}.open(t)
		if err := install.KeepReceiptKey(filepath.Join(w.dir, "state"), public); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(w.dir, "state", "receipt.pub"))
		if err != nil {
			t.Fatal(err)
		}
		keyFile := w.put(t, "hub.pub", string(b))
		moved := exitWell // what follows where the record has moved on
		if !well {
			moved = exitRefused
		}
		for name, row := range map[string]struct {
			text   string
			args   []string
			status int
			say    string // in either stream
		}{
			"JSON":            {whole, nil, moved, "the receipt is good: sale, 12.99 CNY, approved"},
			"printed":         {good.Text(tideover.English), nil, moved, "the receipt is good"},
			"printed, zh":     {good.Text(tideover.Chinese), []string{"--lang", "zh"}, moved, "收据有效：收款，12.99 CNY，"},
			"key file":        {whole, []string{"--key", keyFile}, moved, "the receipt is good"},
			"key in hex":      {whole, []string{"--key", hex.EncodeToString(public)}, moved, "the receipt is good"},
			"offline":         {whole, []string{"--offline"}, exitWell, "the receipt is good"},
			"changed":         {strings.Replace(whole, "1299", "1", 1), nil, exitRefused, "it was changed after it was signed"},
			"changed, zh":     {strings.Replace(whole, "1299", "1", 1), []string{"--lang", "zh"}, exitRefused, "签名之后内容被改动"},
			"printed, paid":   {strings.Replace(good.Text(tideover.English), "12.99", "1.29", 1), nil, exitRefused, "it was changed after it was signed"},
			"of a stranger":   {receiptJSON(t, stranger), nil, exitRefused, "signed with the key " + stranger.Key.String()},
			"another key":     {whole, []string{"--key", strings.Repeat("ab", 32)}, exitRefused, "not known here"},
			"field more":      {strings.Replace(whole, "{", `{"note":"",`, 1), nil, exitRefused, `not a receipt: the field "note"`},
			"cut":             {whole[:len(whole)/2], nil, exitRefused, "not a receipt"},
			"empty":           {"", []string{"--offline"}, exitRefused, "not a receipt"},
			"not in journal":  {receiptJSON(t, elsewhere), nil, exitRefused, "no transaction " + elsewhere.ID.String()},
			"key of nothing":  {whole, []string{"--key", "abc"}, exitFailed, "neither a file nor 64 hexadecimal digits"},
			"key is no key":   {whole, []string{"--key", w.put(t, "no.pub", "x")}, exitFailed, "holds no public key of receipts"},
			"unknown flag":    {whole, []string{"--fast"}, exitFailed, "no flag --fast"},
			"equal or not":    {whole, nil, moved, map[bool]string{true: "the record says the same", false: "since then: reversed"}[well]},
			"each difference": {whole, nil, moved, map[bool]string{true: "says the same", false: "state  approved  reversed"}[well]},
		} {
			status, out, words := call(t, append([]string{"receipt", "verify", w.put(t, "receipt", row.text)}, row.args...)...)
			if status != row.status || !strings.Contains(out+words, row.say) {
				t.Errorf("%s: status %d, want %d and %q\n%s%s", name, status, row.status, row.say, out, words)
			}
			if good := strings.Contains(out, "the receipt is good"); good && status != moved && name != "offline" && name != "not in journal" {
				t.Errorf("%s: called good", name)
			}
		}
		status, _, words := call(t, "receipt", "verify", filepath.Join(w.dir, "nothing"))
		if status != exitFailed || !strings.Contains(words, "cannot be read") || !strings.Contains(words, "hint:") {
			t.Errorf("no file: %d, %s", status, words)
		}
	}
}

// A script reads one verdict, whatever it is.
func TestReceiptVerify_JSON(t *testing.T) {
	w := newWallet(t)
	shop{}.open(t)
	key := "--key=" + hex.EncodeToString(hubKey.Public().(ed25519.PublicKey))
	whole := receiptJSON(t, soldReceipt())
	for name, row := range map[string]struct {
		text    string
		more    string
		status  int
		good    bool
		refused string
		compare string
		differs int
	}{
		"differs":  {whole, "--json", exitRefused, true, "", comparedDiffers, 1},
		"offline":  {whole, "--offline", exitWell, true, "", comparedNot, 0},
		"changed":  {strings.Replace(whole, "P-77", "P-78", 1), "--json", exitRefused, false, "changed", comparedNot, 0},
		"no JSON":  {"x", "--json", exitRefused, false, "not_a_receipt", comparedNot, 0},
		"stranger": {strings.Replace(whole, soldReceipt().Key.String(), strings.Repeat("0", 16), 1), "--json", exitRefused, false, "unknown_key", comparedNot, 0},
	} {
		status, out, _ := call(t, "receipt", "verify", w.put(t, "receipt", row.text), key, "--json", row.more)
		var v receiptVerdict
		if err := json.Unmarshal([]byte(out), &v); err != nil {
			t.Errorf("%s: %v in %s", name, err, out)
			continue
		}
		if status != row.status || v.Good != row.good || v.Refused != row.refused || v.Compared != row.compare || len(v.Differs) != row.differs ||
			(v.Receipt != nil) != (row.refused != "not_a_receipt") {
			t.Errorf("%s: status %d, %s", name, status, out)
		}
	}
}

// Without a daemon the signature is checked all the same, and the rest is said.
func TestReceiptVerify_WithoutADaemon(t *testing.T) {
	w := newWallet(t)
	t.Setenv("TIDEOVER_ADMIN_SOCKET", filepath.Join(w.dir, "none.sock"))
	path := w.put(t, "receipt", receiptJSON(t, soldReceipt()))
	status, out, words := call(t, "receipt", "verify", path, "--key", hex.EncodeToString(hubKey.Public().(ed25519.PublicKey)))
	if status != exitWell || !strings.Contains(out, "the receipt is good") || !strings.Contains(words, "not compared with the record") {
		t.Errorf("%d, %s%s", status, out, words)
	}
	if status, _, words := call(t, "receipt", "verify", path); status != exitRefused || !strings.Contains(words, "--key") {
		t.Errorf("without any key: %d, %s", status, words)
	}
	if status, _, _ := call(t, "receipt", "show", saleID.String()); status != exitUnreachable {
		t.Errorf("show: %d", status)
	}
}
