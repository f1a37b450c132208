package sandbox

import (
	"bytes"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"os"

	"tideover"
)

// hubsKey is the public key of the hub's receipts, as its own command prints it.
func (c *campaign) hubsKey() ed25519.PublicKey {
	c.t.Helper()
	said, err := c.shop.HubCommand(c.t.Context(), "receipt", "key", "--json")
	c.must(err)
	var k struct {
		PEM string `json:"pem"`
	}
	c.must(json.Unmarshal([]byte(said), &k))
	block, _ := pem.Decode([]byte(k.PEM))
	if block == nil {
		c.t.Fatalf("not PEM: %s", said)
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	c.must(err)
	return key.(ed25519.PublicKey)
}

// receipts wants a receipt of each end that the platform's word, or its undoing, has made, whatever has died or was replaced since: it
// holds, and says what the till was told. What the present router does not know any more has none, and neither has what a router ended
// by itself until the hub has heard of it, and what a hub was only ever asked to undo.
func (c *campaign) receipts() {
	c.t.Helper()
	key, good := c.hubsKey(), 0
	for _, till := range c.tills {
		for _, n := range till.Notes() {
			if n.End == nil || n.End.Kind == tideover.KindNone {
				continue
			}
			a, err := till.call(c.t.Context(), http.MethodGet, "/v1/transactions/"+n.ID.String()+"/receipt", nil, nil, 0)
			if err != nil {
				c.t.Errorf("%s key %q: no answer about its receipt: %v", till.Name, n.Key, err)
				return
			}
			hubs := n.Press.Kind != tideover.KindReversal && n.End.State != tideover.StateExpired && n.End.State != tideover.StateCancelled
			if a.status == http.StatusNotFound || a.status == http.StatusConflict && (!hubs || c.requestless(n.ID)) {
				continue
			}
			r, err := tideover.ParseReceipt(a.body)
			if err == nil {
				err = r.Verify(key)
			}
			if err != nil || r.ID != n.ID || r.State != n.End.State || r.Amount != n.Press.Amount || r.Store != c.shop.Store {
				c.t.Errorf("%s key %q is %s, and its receipt: %v, %d %s\n%s", till.Name, n.Key, n.End.State, err, a.status, a.body,
					c.evidence(Problem{Terminal: till.Name, Key: n.Key, ID: n.ID}))
				return
			}
			good++
		}
	}
	c.t.Logf("%d receipts hold", good)
}

// requestless says that a hub had not seen a request of an id when it told its end: it had lost the id with a part of its ledger, and was asked to
// undo what may have left.
func (c *campaign) requestless(id tideover.ID) bool {
	c.t.Helper()
	log, err := os.ReadFile(c.shop.path("hub.log"))
	c.must(err)
	for line := range bytes.Lines(log) {
		if bytes.Contains(line, []byte(id.String())) && bytes.Contains(line, []byte(`"msg":"transaction reversing"`)) && bytes.Contains(line, []byte(`"from":""`)) {
			return true
		}
	}
	return false
}
