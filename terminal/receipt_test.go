package terminal_test

import (
	"crypto/ed25519"
	"strings"
	"testing"

	"tideover"
)

func TestServer_HandsOutReceipts(t *testing.T) {
	c := openCounter(t)
	other := "Authorization: Bearer " + c.pair("till-2")
	id := transaction(t, c.must(202, sell("k"))).ID
	c.desk.tell(id, tideover.StateApproved)
	q := get("/v1/transactions/" + id.String() + "/receipt")
	a := c.must(200, q)
	r, err := tideover.ParseReceipt(a.body)
	if err != nil || r.ID != id || r.State != tideover.StateApproved || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%+v, %v, %s", r, err, a.body)
	}
	if err := r.Verify(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)).Public().(ed25519.PublicKey)); err != nil {
		t.Error(err)
	}
	q.header = []string{"Authorization:", other}
	c.must(404, q) // another till's
}

// A till that was told to ask again when the line is back would ask for ever.
func TestServer_SaysThatABarNeverHasAReceipt(t *testing.T) {
	c := openCounter(t)
	bar := transaction(t, c.must(200, post("/v1/cancel", `{"key":"never-pressed"}`)))
	for lang, want := range map[string]string{"en": "there will be no receipt", "zh": "不会有收据"} {
		a := c.must(409, get("/v1/transactions/"+bar.ID.String()+"/receipt", "Accept-Language: "+lang))
		if body := string(a.body); !strings.Contains(body, want) || strings.Contains(body, "again") || a.header.Get("Retry-After") != "" {
			t.Errorf("%s: %s", lang, body)
		}
	}
}
