package terminal_test

import (
	"crypto/ed25519"
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
