package terminal_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"tideover"
	"tideover/terminal"
)

// list is a page of a list as a till reads it.
type list struct {
	Transactions []tideover.Transaction
	Next         *string
}

func TestServer_ListsTheCallersOwn(t *testing.T) {
	c := openCounter(t)
	other := "Authorization: Bearer " + c.pair("till-2")
	var ids []tideover.ID
	for i := range 5 {
		body := fmt.Sprintf(`{"kind":"sale","amount":5,"currency":"CNY","order":"A-%d"}`, i%2)
		ids = append(ids, transaction(t, c.must(202, post("/v1/transactions", body, fmt.Sprintf("Idempotency-Key: k%d", i)))).ID)
	}
	c.must(202, sell("k0", "Authorization:", other))
	c.desk.tell(ids[3], tideover.StateApproved)
	for _, row := range []struct {
		query string
		want  []int
	}{
		{"", []int{0, 1, 2, 3, 4}},
		{"?key=k2", []int{2}},
		{"?key=unknown", nil},
		{"?order=A-1", []int{1, 3}},
		{"?unacknowledged=1", []int{3}},
		{"?unacknowledged=0", []int{0, 1, 2, 3, 4}},
	} {
		var page list
		c.must(200, get("/v1/transactions"+row.query), &page)
		if page.Transactions == nil || len(page.Transactions) != len(row.want) || page.Next != nil {
			t.Errorf("%q: %+v", row.query, page)
			continue
		}
		for i, n := range row.want {
			if page.Transactions[i].ID != ids[n] {
				t.Errorf("%q: number %d is %s", row.query, i, page.Transactions[i].Key)
			}
		}
	}
	var read []tideover.ID
	for next := ""; ; {
		var page list
		c.must(200, get("/v1/transactions?limit=2"+next), &page)
		for _, tx := range page.Transactions {
			read = append(read, tx.ID)
		}
		if page.Next == nil {
			break
		}
		next = "&next=" + *page.Next
	}
	if len(read) != len(ids) {
		t.Errorf("page by page: %d, want %d", len(read), len(ids))
	}
	until(t, func() bool {
		c.desk.mu.Lock()
		defer c.desk.mu.Unlock()
		return len(c.desk.delivered) == 1 && c.desk.delivered[ids[3]] != 0
	})
	// Another till's are not there at all.
	for _, q := range []call{
		get("/v1/transactions/" + ids[0].String()),
		post("/v1/transactions/"+ids[0].String()+"/cancel", ""),
		post("/v1/transactions/"+ids[3].String()+"/ack", `{"seq":99}`),
	} {
		q.header = []string{"Authorization:", other}
		c.must(404, q)
	}
}

func TestServer_TakesAnAcknowledgement(t *testing.T) {
	c := openCounter(t)
	tx := transaction(t, c.must(202, sell("k")))
	path := "/v1/transactions/" + tx.ID.String()
	ack := func(seq uint64) call { return post(path+"/ack", fmt.Sprintf(`{"seq":%d}`, seq)) }
	c.must(409, ack(tx.Seq))
	c.desk.tell(tx.ID, tideover.StateApproved)
	tx = transaction(t, c.must(200, get(path)))
	a := c.must(204, ack(tx.Seq))
	if len(a.body) != 0 {
		t.Errorf("204 with %s", a.body)
	}
	if !transaction(t, c.must(200, get(path))).Acknowledged {
		t.Error("it is not acknowledged")
	}
	c.must(409, post(path+"/cancel", ""))
}

func TestServer_PairsATillOnce(t *testing.T) {
	c := openCounter(t)
	code, _, err := c.desk.book.Open(terminal.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	pair := func(name string) call {
		return post("/v1/pair", fmt.Sprintf(`{"code":%q,"name":%q}`, code, name), "Authorization:")
	}
	c.must(409, pair("till-1"))
	var paired struct{ Terminal, Token string }
	c.must(200, pair("前台"), &paired)
	if paired.Terminal != "前台" {
		t.Errorf("paired as %q", paired.Terminal)
	}
	c.must(403, pair("till-3"))
	tx := transaction(t, c.must(202, sell("k", "Authorization:", "Authorization: bearer "+paired.Token)))
	if tx.Terminal != "前台" {
		t.Errorf("sold as %q", tx.Terminal)
	}
}

func TestServer_OpenAccessTakesTheTillsWord(t *testing.T) {
	c := openCounter(t, func(cfg *terminal.Config) { cfg.Access = terminal.AccessOpen })
	tx := transaction(t, c.must(202, sell("k", "Authorization:", "Tideover-Terminal: till-9")))
	if tx.Terminal != "till-9" || tx.ID != tideover.MakeID("shop", "till-9", "k") {
		t.Errorf("sold as %q, %s", tx.Terminal, tx.ID)
	}
	for _, header := range [][]string{
		{"Authorization:"},
		{"Tideover-Terminal:"},
		{"Tideover-Terminal: a b"},
		{"Tideover-Terminal: a", "Tideover-Terminal: b"},
		{"Tideover-Terminal: " + strings.Repeat("x", terminal.NameMax+1)},
	} {
		c.must(401, sell("k", header...))
	}
	if a := c.must(401, sell("k", "Tideover-Terminal: a b")); !strings.Contains(string(a.body), `\"a b\" is no name for a till here`) {
		t.Errorf("a name that cannot be taken: %s", a.body)
	}
	// A web page whose name resolves to this machine is no till of it.
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+c.addr+"/v1/transactions", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "evil.example"
	req.Header.Set("Tideover-Terminal", "till-9")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != 403 {
		t.Errorf("from a page: %d", res.StatusCode)
	}
}

func TestConfig_Validate(t *testing.T) {
	for name, row := range map[string]struct {
		change func(*terminal.Config)
		key    string
	}{
		"the defaults":             {func(*terminal.Config) {}, ""},
		"open on loopback":         {func(c *terminal.Config) { c.Access, c.Listen = "open", "127.0.0.1:8400" }, ""},
		"open on loopback, v6":     {func(c *terminal.Config) { c.Access, c.Listen = "open", "[::1]:8400" }, ""},
		"open on localhost":        {func(c *terminal.Config) { c.Access, c.Listen = "open", "localhost:8400" }, ""},
		"open everywhere":          {func(c *terminal.Config) { c.Access = "open" }, "endpoint.access"},
		"open, no host":            {func(c *terminal.Config) { c.Access, c.Listen = "open", ":8400" }, "endpoint.access"},
		"open in the shop":         {func(c *terminal.Config) { c.Access, c.Listen = "open", "192.168.1.1:8400" }, "endpoint.access"},
		"an unknown access":        {func(c *terminal.Config) { c.Access = "public" }, "endpoint.access"},
		"a port too high":          {func(c *terminal.Config) { c.Listen = "0.0.0.0:84000" }, "endpoint.listen"},
		"no port":                  {func(c *terminal.Config) { c.Listen = "0.0.0.0" }, "endpoint.listen"},
		"a wait below 0":           {func(c *terminal.Config) { c.DefaultWait = -1 }, "endpoint.default_wait"},
		"a wait too long":          {func(c *terminal.Config) { c.DefaultWait = 2 * terminal.WaitMax }, "endpoint.default_wait"},
		"a rate below 0":           {func(c *terminal.Config) { c.TillRate = -1 }, "endpoint.till_rate"},
		"certificates of its own":  {func(c *terminal.Config) { c.TLS = "auto" }, "endpoint.tls"},
		"unknown encryption":       {func(c *terminal.Config) { c.TLS = "on" }, "endpoint.tls"},
		"files without files":      {func(c *terminal.Config) { c.TLS = "files" }, "endpoint.tls_cert"},
		"a certificate without":    {func(c *terminal.Config) { c.TLS, c.TLSCert = "files", "x" }, "endpoint.tls_key"},
		"ISO 8583, which is later": {func(c *terminal.Config) { c.ISO8583 = "0.0.0.0:8583" }, "endpoint.iso8583"},
	} {
		cfg := terminal.DefaultConfig()
		row.change(&cfg)
		err := cfg.Validate()
		if e, ok := err.(*terminal.ConfigError); ok != (row.key != "") || ok && (e.Key != row.key || e.Text.Zh == "") {
			t.Errorf("%s: %v, want %q", name, err, row.key)
		}
	}
}
