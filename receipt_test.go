package tideover

import (
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"strings"
	"testing"
)

// receiptKey is a hub's key that every run of the tests has; other gives another one.
func receiptKey(other byte) ed25519.PrivateKey {
	seed := make([]byte, ed25519.SeedSize)
	seed[0] = other
	return ed25519.NewKeyFromSeed(seed)
}

func public(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

// wholeReceipt has every field, and texts that a careless writer gets wrong.
func wholeReceipt() Receipt {
	return Receipt{
		Store: "shop-0001", ID: MakeID("shop-0001", "u1", "k-1"), Terminal: "收银台 1", Kind: KindRefund, Amount: 1299, Currency: "CNY", Method: "qr",
		Order: `A"1: <b>`, Original: MakeID("shop-0001", "u1", "k-0"), Operator: "lin", State: StateApproved, Code: "00",
		Message: "line one\nstate: approved\u2028", Reference: " P-1 ", At: 1_700_000_001_234, CreatedAt: 1_700_000_000_000, Corrected: true,
	}
}

// bareReceipt has what the shortest transaction has: a reversal that left out its amount.
func bareReceipt() Receipt {
	return Receipt{
		Store: "s", ID: MakeID("s", "u1", "k"), Terminal: "t", Kind: KindReversal, Original: MakeID("s", "u1", "k-0"), State: StateApproved,
	}
}

// forms are all the ways in which a receipt is written.
func forms(t testing.TB, r Receipt) map[string]string {
	t.Helper()
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{"JSON": string(b), "English": r.Text(English), "Chinese": r.Text(Chinese)}
}

func TestReceipt_IsReadBackAndVerified(t *testing.T) {
	key := receiptKey(1)
	for name, r := range map[string]Receipt{"whole": wholeReceipt(), "bare": bareReceipt()} {
		r.Sign(key)
		for form, text := range forms(t, r) {
			have, err := ParseReceipt([]byte(text))
			if err != nil || have != r {
				t.Errorf("%s, %s: %+v, %v\n%s", name, form, have, err, text)
				continue
			}
			if err := have.Verify(public(key)); err != nil {
				t.Errorf("%s, %s: %v", name, form, err)
			}
			if err := have.Verify(public(receiptKey(2))); !errors.Is(err, ErrReceiptKey) {
				t.Errorf("%s, %s, with the key of another hub: %v", name, form, err)
			}
		}
	}
}

// A printed receipt is read whatever a terminal has done to the ends of its lines.
func TestParseReceipt_OverlooksWhiteSpaceAlone(t *testing.T) {
	r := wholeReceipt()
	r.Sign(receiptKey(1))
	printed := r.Text(Chinese)
	for _, text := range []string{
		"\ufeff" + printed, strings.ReplaceAll(printed, "\n", "  \r\n"), strings.ReplaceAll(printed, "\n", "\n\n"), strings.TrimSpace(printed),
		printed[:len(printed)-60] + "\n" + printed[len(printed)-60:len(printed)-30] + " \n\n" + printed[len(printed)-30:],
	} {
		if have, err := ParseReceipt([]byte(text)); err != nil || have != r {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// mutate changes one field of a receipt, whatever its type, to each of some other values.
func mutate(t *testing.T, r Receipt, field int, each func(Receipt)) {
	t.Helper()
	v := reflect.ValueOf(&r).Elem().Field(field)
	switch was := v.Interface().(type) {
	case string:
		for _, s := range []string{was + "x", was + " ", strings.ToUpper(was + "x"), "", "\x00" + was} {
			if s != was {
				v.SetString(s)
				each(r)
			}
		}
	case int64:
		for _, n := range []int64{was + 1, was * 10, -was - 1, 0} {
			v.SetInt(n)
			each(r)
		}
	case Millis:
		for _, n := range []Millis{was + 1, was - 1, 0} {
			v.SetInt(int64(n))
			each(r)
		}
	case bool:
		v.SetBool(!was)
		each(r)
	case Kind:
		for _, k := range []Kind{KindSale, KindReversal, KindAdvice} {
			v.SetUint(uint64(k))
			each(r)
		}
	case State:
		for _, s := range []State{StateDeclined, StateExpired, StateCancelled, StateReversed} {
			v.SetUint(uint64(s))
			each(r)
		}
	default: // arrays of bytes
		for i := range v.Len() {
			at := v.Index(i)
			at.SetUint(at.Uint() ^ 1)
			each(r)
			at.SetUint(at.Uint() ^ 1)
		}
	}
}

// Whatever field is changed, the signature does not match any more. A field that is new to Receipt fails here until it is signed.
func TestReceipt_AnyFieldChanged(t *testing.T) {
	key := receiptKey(1)
	r := wholeReceipt()
	r.Sign(key)
	fields := reflect.TypeFor[Receipt]()
	for i := range fields.NumField() {
		n := 0
		mutate(t, r, i, func(changed Receipt) {
			n++
			if err := changed.Verify(public(key)); err == nil {
				t.Errorf("%s changed: %+v", fields.Field(i).Name, changed)
			}
		})
		if n == 0 {
			t.Errorf("%s was never changed", fields.Field(i).Name)
		}
	}
}

// Text that moves from one field into its neighbour keeps its bytes, and not its lengths.
func TestReceipt_TextMoved(t *testing.T) {
	key := receiptKey(1)
	r := wholeReceipt()
	r.Method, r.Order, r.Operator, r.Code, r.Message = "qr", "A-1", "lin", "00", "well"
	r.Sign(key)
	for name, move := range map[string]func(*Receipt){
		"method to order":      func(r *Receipt) { r.Method, r.Order = "q", "rA-1" },
		"order to method":      func(r *Receipt) { r.Method, r.Order = "qrA-1", "" },
		"code to message":      func(r *Receipt) { r.Code, r.Message = "0", "0well" },
		"swapped":              func(r *Receipt) { r.Code, r.Message = r.Message, r.Code },
		"store to terminal":    func(r *Receipt) { r.Store, r.Terminal = "shop-000", "1"+r.Terminal },
		"message to reference": func(r *Receipt) { r.Message, r.Reference = "", r.Message+r.Reference },
		"times swapped":        func(r *Receipt) { r.At, r.CreatedAt = r.CreatedAt, r.At },
		"ids swapped":          func(r *Receipt) { r.ID, r.Original = r.Original, r.ID },
	} {
		changed := r
		move(&changed)
		if err := changed.Verify(public(key)); !errors.Is(err, ErrReceiptChanged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any byte of a receipt's file, changed in any of its bits, taken away or doubled: it is refused, but where it still says the same: white
// space between its parts, or an escape's spelling.
func TestReceipt_AnyByteChanged(t *testing.T) {
	key := receiptKey(1)
	for _, r := range []Receipt{wholeReceipt(), bareReceipt()} {
		r.Sign(key)
		for form, text := range forms(t, r) {
			for i := range len(text) {
				var changes []string
				for bit := range 8 {
					changes = append(changes, text[:i]+string([]byte{text[i] ^ 1<<bit})+text[i+1:])
				}
				changes = append(changes, text[:i]+text[i+1:], text[:i]+text[i:i+1]+text[i:])
				for _, changed := range changes {
					have, err := ParseReceipt([]byte(changed))
					if err == nil {
						err = have.Verify(public(key))
					}
					if err == nil && (have != r || !sameButSpace(text, changed)) {
						t.Fatalf("%s, byte %d: it is taken\n%s", form, i, changed)
					}
				}
			}
		}
	}
}

// sameButSpace says whether two files say the same: JSON of the same names and values, or the same printed without its white space.
func sameButSpace(a, b string) bool {
	var x, y map[string]any
	if json.Unmarshal([]byte(a), &x) == nil {
		return json.Unmarshal([]byte(b), &y) == nil && reflect.DeepEqual(x, y)
	}
	bare := func(s string) string { return strings.Join(strings.Fields(s), "") }
	return bare(a) == bare(b)
}

func TestParseReceipt_RefusesWhatIsNone(t *testing.T) {
	r := wholeReceipt()
	r.Order, r.Message = "", "well"
	r.Sign(receiptKey(1))
	whole, printed := forms(t, r)["JSON"], r.Text(English)
	swap := func(from, to string) string {
		t.Helper()
		if !strings.Contains(whole, from) {
			t.Fatalf("there is no %s", from)
		}
		return strings.Replace(whole, from, to, 1)
	}
	for name, text := range map[string]string{
		"empty":                "",
		"not JSON":             whole[:len(whole)-3],
		"a list":               "[" + whole + "]",
		"two":                  whole + whole,
		"unknown field":        swap(`"amount"`, `"note": "paid twice", "amount"`),
		"field twice":          swap(`"amount": 1299`, `"amount": 1, "amount": 1299`),
		"other case":           swap(`"amount"`, `"Amount"`),
		"field missing":        swap(`"order": null,`, ``),
		"null as text":         swap(`"order": null`, `"order": ""`),
		"text as null":         swap(`"message": "well"`, `"message": null`),
		"amount as text":       swap(`1299`, `"1299"`),
		"amount as fraction":   swap(`1299`, `1299.0`),
		"amount as power":      swap(`1299`, `1.299e3`),
		"truth as number":      swap(`"corrected": true`, `"corrected": 1`),
		"time of a zone":       swap(`.234Z`, `.234+00:00`),
		"time cut":             swap(`.234Z`, `Z`),
		"kind unknown":         swap(`"refund"`, `"gift"`),
		"no end":               swap(`"state": "approved"`, `"state": "sent"`),
		"deeper":               swap(`"well"`, `{"text":"well"}`),
		"key in capitals":      swap(`"key_id": "`+r.Key.String(), `"key_id": "`+strings.ToUpper(r.Key.String())),
		"signature short":      swap(base64url.EncodeToString(r.Signature[:]), base64url.EncodeToString(r.Signature[:63])),
		"no UTF-8":             swap(`"well"`, "\"well\xff\""),
		"huge":                 whole + strings.Repeat(" ", ReceiptMax),
		"printed, twice":       strings.Replace(printed, "order", "order", 1) + printed,
		"printed, no title":    printed[strings.Index(printed, "\n")+1:],
		"printed, swapped":     strings.Replace(strings.Replace(strings.Replace(printed, "code: 00\n", "@", 1), "message: well\n", "code: 00\n", 1), "@", "message: well\n", 1),
		"printed, a line more": strings.Replace(printed, "code: 00\n", "code: 00\ncode: 00\n", 1),
		"printed, other words": strings.Replace(printed, "amount", "金额", 1),
	} {
		if have, err := ParseReceipt([]byte(text)); !errors.Is(err, ErrNotReceipt) || have != (Receipt{}) {
			t.Errorf("%s: %+v, %v", name, have, err)
		}
	}
}

// What two acceptances of one press may differ in is taken from the proof, and the signature holds.
func TestReceiptOf_WithTheProof(t *testing.T) {
	signed := wholeReceipt()
	proof := signed.Sign(receiptKey(1))
	own := Transaction{
		ID: signed.ID, Terminal: "another name", Kind: signed.Kind, Amount: signed.Amount, Currency: signed.Currency, Method: signed.Method,
		Order: signed.Order, Original: signed.Original, Operator: signed.Operator, State: signed.State, Corrected: true, CreatedAt: 42,
		Outcome: &Outcome{Result: signed.State, Code: signed.Code, Message: signed.Message, Reference: signed.Reference, At: signed.At},
	}
	r := ReceiptOf(signed.Store, own).With(proof)
	if err := r.Verify(public(receiptKey(1))); err != nil || r != signed {
		t.Errorf("%+v: %v", r, err)
	}
	own.Amount++
	r = ReceiptOf(signed.Store, own).With(proof)
	if err := r.Verify(public(receiptKey(1))); !errors.Is(err, ErrReceiptChanged) {
		t.Errorf("another amount: %v", err)
	}
}

// The signature over one receipt, for good: what was printed has to stay true.
func TestReceipt_SignatureIsWhatItWas(t *testing.T) {
	r := wholeReceipt()
	r.Sign(receiptKey(1))
	const want = "fa4d86c3b551aa6c.6uOGHtd3rI1W6aRgY7DWe8Hj4FfBMZOnSwa8E17zf5HAL6tnl4N3LI1Kqc0d_HVFbTA_72CluwdsPieB0_8GAQ"
	if have := r.Key.String() + "." + base64url.EncodeToString(r.Signature[:]); have != want {
		t.Errorf("have %s, want %s", have, want)
	}
}

// FuzzParseReceipt reads anything; what is taken is written as it was understood.
func FuzzParseReceipt(f *testing.F) {
	for _, r := range []Receipt{wholeReceipt(), bareReceipt()} {
		r.Sign(receiptKey(1))
		for _, text := range forms(f, r) {
			f.Add([]byte(text))
		}
	}
	f.Add([]byte(`{"store":"s","store":"t"}`))
	f.Add([]byte("Tideover receipt\nsignature: .\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReceipt(b)
		if err != nil {
			if r != (Receipt{}) || !errors.Is(err, ErrNotReceipt) {
				t.Fatalf("%+v, %v", r, err)
			}
			return
		}
		for form, text := range forms(t, r) {
			if again, err := ParseReceipt([]byte(text)); form == "JSON" && (err != nil || again != r) {
				t.Fatalf("%s: %+v, %v", form, again, err)
			}
		}
	})
}

// Each field of the API but key and signature is compared, and told by its name.
func TestCompareReceipts_NamesEachField(t *testing.T) {
	record := wholeReceipt()
	if d := CompareReceipts(record, record); d != nil {
		t.Errorf("%+v", d)
	}
	named := map[string]bool{}
	for i := range reflect.TypeFor[Receipt]().NumField() {
		mutate(t, record, i, func(changed Receipt) {
			for _, d := range CompareReceipts(changed, record) {
				if d.Receipt == d.Record {
					t.Errorf("%+v", d)
				}
				named[d.Field] = true
			}
		})
	}
	for name := range record.fields() {
		if want := name != "key_id" && name != "signature"; named[name] != want {
			t.Errorf("%s is compared: %v", name, named[name])
		}
	}
	other := record
	other.Amount, other.Order = 999_999_999_999, ""
	if d := CompareReceipts(other, record); len(d) != 2 || d[0] != (Difference{"amount", "999999999999", "1299"}) || d[1] != (Difference{"order", "", record.Order}) {
		t.Errorf("%+v", d)
	}
}

// The receipts that the documentation shows are true, in both forms, with the key that it names.
func TestReceipt_DocumentationShowsTrueOnes(t *testing.T) {
	b, err := os.ReadFile("docs/receipts.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	between := func(from, to string) string {
		t.Helper()
		_, after, ok := strings.Cut(page, from)
		text, _, closed := strings.Cut(after, to)
		if !ok || !closed {
			t.Fatalf("there is nothing between %q and %q", from, to)
		}
		return text
	}
	key, err := hex.DecodeString(between("public half is\n`", "`"))
	if err != nil {
		t.Fatal(err)
	}
	shown, err := ParseReceipt([]byte(between("```json\n", "```")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseReceipt([]byte(between("```\nTideover", "```"))); err == nil {
		t.Error("a receipt without its whole title is read")
	}
	if printed, err := ParseReceipt([]byte("Tideover" + between("```\nTideover", "```"))); err != nil || printed != shown {
		t.Errorf("printed: %+v, %v", printed, err)
	}
	if err := shown.Verify(key); err != nil {
		t.Error(err)
	}
}
