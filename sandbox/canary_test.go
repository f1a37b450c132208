package sandbox

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"tideover"
)

// What must be found nowhere. The number is of an issuer's range and passes the Luhn test; the rest stands in no file by chance.
const (
	canaryNumber = "4929761083542198"
	canaryTrack1 = "%B4929761083542198^CANARY/BIRD^30121019876543210?"
	canaryTrack2 = ";4929761083542198=30121019876543210?"
	canaryCode   = "x8831-canary-code" // in a field that is named as a verification code
	// sealedCode is a pay code that could be a card's number, and may be used: it is found at the platform, and nowhere else in clear.
	sealedCode = "6283746501928374653"
	canaryPIN  = "04C4A5CA1B1DCA9A6E" // in a field that is named as a PIN block
)

// canaries are the texts that are put into every place, by what they are.
var canaries = map[string]string{
	"number":            canaryNumber,
	"number, in groups": "4929 7610 8354 2198",
	"number, in dashes": "4929-7610-8354-2198",
	"number, in words":  "paid with PAN" + canaryNumber + ".",
	"full width":        "４９２９７６１０８３５４２１９８",
	"track 1":           canaryTrack1,
	"track 2":           canaryTrack2,
	"chip's track 2":    "57114929761083542198D30121019876543210F",
	"code":              "CVV: 8831",
}

// named are what is put behind names that say what it is.
var named = map[string]string{"cvv": canaryCode, "pin_block": canaryPIN, "track2": canaryTrack2, "pan": canaryNumber}

// needles are what gives a canary away: eight digits of the number in a row, which the first six and the last four never make, in any
// spelling, and the unmistakable parts of the rest.
var needles = sync.OnceValue(func() map[string][]byte {
	all := map[string][]byte{
		"the name on track 1": []byte("CANARY/BIRD"), "the rest of a track": []byte("30121019876543210"), "a PIN block": []byte(canaryPIN),
		"a verification code": []byte(canaryCode), "a verification code in words": []byte("CVV: 8831"),
		"full width": []byte("７６１０８３５４"),
	}
	for i := range len(canaryNumber) - 7 {
		all[fmt.Sprintf("digits %d to %d", i+1, i+8)] = []byte(canaryNumber[i : i+8])
	}
	for _, gap := range []string{" ", "-"} {
		groups := []string{"4929", "7610", "8354", "2198"}
		for i := range 3 {
			all[fmt.Sprintf("groups %d and %d with %q", i+1, i+2, gap)] = []byte(groups[i] + gap + groups[i+1])
		}
	}
	packed, _ := hex.DecodeString(canaryNumber)
	all["packed digits"] = packed[1:7]
	all["hexadecimal"] = []byte(hex.EncodeToString([]byte(canaryNumber[4:12])))
	for _, secret := range []string{canaryNumber, canaryTrack1, canaryTrack2, canaryCode, canaryPIN} {
		for shift := range 3 {
			coded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift) + secret))
			all[fmt.Sprintf("base64 of %s, shifted by %d", secret, shift)] = []byte(strings.TrimRight(coded, "=")[4 : len(coded)-4])
		}
	}
	return all
})

// givesAway returns what of a canary stands in b; "" where nothing does.
func givesAway(b []byte) string {
	for what, needle := range needles() {
		if at := bytes.Index(b, needle); at >= 0 {
			return fmt.Sprintf("%s: …%q…", what, b[max(0, at-60):min(len(b), at+60)])
		}
	}
	return ""
}

// apiCall is one call of the terminal's API as a till makes it rightly.
type apiCall struct {
	method, path string // {id} stands for a transaction's id
	query        []string
	headers      map[string]string
	body         map[string]any
	stream       bool
}

// apiCalls are all of them.
var apiCalls = []apiCall{
	{method: "POST", path: "/v1/transactions", headers: map[string]string{"Idempotency-Key": "KEY", "Prefer": "wait=0", "Tideover-Override": "duplicate"}, body: map[string]any{
		"kind": "sale", "amount": 1299, "currency": "CNY", "method": "card", "order": "A-1", "original": nil, "instrument": "tok_1", "operator": "lin",
		"expires_in": 45, "payload": map[string]any{"a": []any{map[string]any{"b": "c"}}},
	}},
	{method: "GET", path: "/v1/transactions", query: []string{"key", "order", "unacknowledged", "limit", "next"}},
	{method: "GET", path: "/v1/transactions/{id}", query: []string{"wait"}},
	{method: "POST", path: "/v1/transactions/{id}/cancel", body: map[string]any{}},
	{method: "POST", path: "/v1/transactions/{id}/ack", body: map[string]any{"seq": 1}},
	{method: "GET", path: "/v1/transactions/{id}/receipt"},
	{method: "POST", path: "/v1/cancel", body: map[string]any{"key": "k"}},
	{method: "POST", path: "/v1/pair", body: map[string]any{"code": "123456", "name": "till-9"}},
	{method: "GET", path: "/v1/events", headers: map[string]string{"Last-Event-ID": "1"}, stream: true},
	{method: "POST", path: "/v1/settlements", headers: map[string]string{"Idempotency-Key": "KEY"}, body: map[string]any{
		"from": nil, "to": nil, "totals": []any{map[string]any{"kind": "sale", "currency": "CNY", "count": 1, "amount": 1299}},
		"items": []any{map[string]any{"id": nil, "key": "k-1", "kind": "sale", "amount": 1299, "currency": "CNY", "state": "approved"}},
	}},
	{method: "GET", path: "/v1/settlements/{id}", query: []string{"wait"}},
	{method: "GET", path: "/v1/health"},
	{method: "GET", path: "/v1/openapi.json"},
	{method: "GET", path: "/v1/nothing"},
}

// readHeaders are those that the endpoint, or its HTTP server, looks at; and one that it does not know.
var readHeaders = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Encoding", "Content-Type", "Expect", "Host", "Idempotency-Key",
	"Last-Event-ID", "Prefer", "Tideover-Override", "Tideover-Terminal", "User-Agent", "X-Unknown",
}

// canary is the test: it presses, and keeps whatever is answered.
type canary struct {
	*campaign
	id       string // of a transaction
	pressed  int
	taken    []string // where a press with a canary was taken
	forGood  map[string]int
	answered int
}

// press makes one call with a canary at one place, and looks at the answer.
func (c *canary) press(where string, call apiCall, change func(r *http.Request, body map[string]any)) {
	c.t.Helper()
	c.pressed++
	body := map[string]any{}
	if call.body != nil {
		encoded, err := json.Marshal(call.body) // a copy, to any depth
		c.must(err)
		c.must(json.Unmarshal(encoded, &body))
	}
	ctx, cancel := context.WithTimeout(c.ctx, 20*time.Second)
	if call.stream {
		ctx, cancel = context.WithTimeout(c.ctx, 50*time.Millisecond)
	}
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, call.method, "http://"+c.shop.Endpoint+strings.ReplaceAll(call.path, "{id}", c.id), nil)
	c.must(err)
	r.Header.Set("Tideover-Terminal", "till-1")
	for name, value := range call.headers {
		r.Header.Set(name, strings.ReplaceAll(value, "KEY", fmt.Sprint("canary-", c.pressed)))
	}
	if call.body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	change(r, body)
	if call.body != nil {
		encoded, err := json.Marshal(body)
		c.must(err)
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(encoded)), int64(len(encoded))
	}
	answer, err := canaryClient.Do(r)
	if err != nil {
		return // closed unanswered: no header of HTTP, or a stream that was left
	}
	defer answer.Body.Close()
	c.answered++
	var said bytes.Buffer
	_ = answer.Header.Write(&said)
	_, _ = io.Copy(&said, answer.Body)
	if found := givesAway(said.Bytes()); found != "" {
		c.t.Errorf("%s: the answer, %s, holds %s", where, answer.Status, found)
	}
	if answer.StatusCode < 300 && call.method == "POST" {
		c.taken = append(c.taken, where)
	}
	if answer.StatusCode == http.StatusUnprocessableEntity && strings.Contains(said.String(), "forbidden_card_data") {
		c.forGood[call.method+" "+call.path]++
	}
}

var canaryClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4, DisableCompression: true, ExpectContinueTimeout: 100 * time.Millisecond}}

// everywhere presses one call with every canary in every place of it.
func (c *canary) everywhere(call apiCall) {
	at := func(place, what string) string { return call.method + " " + call.path + ", " + what + " in " + place }
	for what, secret := range canaries {
		for _, header := range readHeaders {
			c.press(at("header "+header, what), call, func(r *http.Request, _ map[string]any) {
				if r.Header.Set(header, secret); header == "Host" {
					r.Host = secret
				}
			})
		}
		for _, param := range append(call.query, "unknown") {
			c.press(at("query "+param, what), call, func(r *http.Request, _ map[string]any) {
				r.URL.RawQuery = url.Values{param: {secret}}.Encode()
			})
		}
		c.press(at("a parameter's name", what), call, func(r *http.Request, _ map[string]any) { r.URL.RawQuery = url.Values{secret: {"1"}}.Encode() })
		segments := strings.Split(call.path, "/")
		for i := 1; i <= len(segments); i++ {
			c.press(at(fmt.Sprint("segment ", i), what), call, func(r *http.Request, _ map[string]any) {
				all := slices.Clone(segments)
				if all = append(all[:i:i], append([]string{secret}, all[min(i+1, len(all)):]...)...); i == len(segments) {
					all = append(slices.Clone(segments), secret)
				}
				r.URL.Path = strings.ReplaceAll(strings.Join(all, "/"), "{id}", c.id)
			})
		}
		c.press(at("the method", what), call, func(r *http.Request, _ map[string]any) { r.Method = secret })
		if call.body == nil {
			continue
		}
		for _, leaf := range leaves(call.body) {
			c.press(at("field "+fmt.Sprint(leaf...), what), call, func(_ *http.Request, body map[string]any) { put(body, leaf, secret) })
		}
		for _, field := range slices.Sorted(maps.Keys(call.body)) {
			c.press(at("field "+field, what), call, func(_ *http.Request, body map[string]any) { body[field] = secret })
			c.press(at("inside of field "+field, what), call, func(_ *http.Request, body map[string]any) {
				body[field] = map[string]any{"x": []any{1, map[string]any{"y": secret}}}
			})
			c.press(at("a name inside of field "+field, what), call, func(_ *http.Request, body map[string]any) {
				body[field] = map[string]any{"x": map[string]any{secret: true}}
			})
		}
		c.press(at("an unknown field", what), call, func(_ *http.Request, body map[string]any) { body["unknown"] = secret })
		c.press(at("an unknown field's name", what), call, func(_ *http.Request, body map[string]any) { body[secret] = 1 })
	}
	if call.body == nil {
		return
	}
	for name, secret := range named {
		c.press(at("a field of its own", name), call, func(_ *http.Request, body map[string]any) { body[name] = secret })
		for _, field := range slices.Sorted(maps.Keys(call.body)) {
			c.press(at("field "+field, name), call, func(_ *http.Request, body map[string]any) {
				body[field] = map[string]any{"deep": []any{map[string]any{strings.ToUpper(name): secret}}}
			})
		}
	}
	for _, field := range slices.Sorted(maps.Keys(call.body)) {
		c.press(at("field "+field, "a number without quotes"), call, func(_ *http.Request, body map[string]any) { body[field] = json.Number(canaryNumber) })
		c.press(at("field "+field, "a number with an exponent"), call, func(_ *http.Request, body map[string]any) {
			body[field] = map[string]any{"x": json.RawMessage("4.929761083542198e15")}
		})
	}
}

// leaves returns the way to everything inside of a value that has fields or places of its own.
func leaves(v any) (all [][]any) {
	var under func(v any, way []any)
	under = func(v any, way []any) {
		switch v := v.(type) {
		case map[string]any:
			for _, name := range slices.Sorted(maps.Keys(v)) {
				under(v[name], append(slices.Clip(way), name))
			}
		case []any:
			for i := range v {
				under(v[i], append(slices.Clip(way), i))
			}
		default:
			all = append(all, way)
		}
	}
	under(v, nil)
	return slices.DeleteFunc(all, func(way []any) bool { return len(way) < 2 })
}

// put puts something at the end of a way.
func put(v any, way []any, something any) {
	for _, step := range way[:len(way)-1] {
		if name, ok := step.(string); ok {
			v = v.(map[string]any)[name]
		} else {
			v = v.([]any)[step.(int)]
		}
	}
	v.(map[string]any)[way[len(way)-1].(string)] = something // no list of the calls ends in a bare value
}

// TestCanary_IsNowhereInClear puts card data into every place of every call of tills and technicians, over real connections to a real
// edge with a real hub behind it, and then reads all that these have written, logged, answered and sent on. Of the number at most the first
// six and the last four digits are found, and of the rest nothing.
func TestCanary_IsNowhereInClear(t *testing.T) {
	var mu sync.Mutex
	var heard bytes.Buffer // by the platform
	c := &canary{forGood: map[string]int{}, campaign: newCampaign(t, Options{Wrap: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			fmt.Fprintln(&heard, r.Method, r.URL, r.Header, string(body))
			mu.Unlock()
			r.Body = io.NopCloser(bytes.NewReader(body))
			next.ServeHTTP(w, r)
		})
	}})}
	c.sells("first")
	c.id = c.tills[0].Note("first").ID.String()
	// A pay code may be kept for as long as its sale is, and so may what is in the payload: sealed.
	paid, err := c.tills[0].Sell(c.ctx, "sealed", Press{
		Kind: tideover.KindSale, Amount: 700, Currency: currency, Method: "unionpay", Instrument: sealedCode, Payload: json.RawMessage(`{"auth_code":"` + sealedCode + `"}`),
	})
	if c.must(err); paid.State != tideover.StateApproved {
		t.Fatalf("a pay code is %s", paid.State)
	}
	c.complete()
	for _, call := range apiCalls {
		c.everywhere(call)
	}
	c.technician()
	t.Logf("%d calls, %d of them answered; refused as card data: %v", c.pressed, c.answered, c.forGood)
	if c.answered < c.pressed/2 || c.forGood["POST /v1/transactions"] < 60 || c.forGood["POST /v1/pair"] == 0 || c.forGood["POST /v1/settlements"] == 0 || c.forGood["POST /v1/cancel"] == 0 {
		t.Error("too few calls have come to be judged")
	}
	kept := regexp.MustCompile(`POST /v1/(transactions|settlements), .* in .*(field|header (Idempotency-Key|Tideover-Terminal))`)
	for _, where := range c.taken {
		if kept.MatchString(where) {
			t.Errorf("taken: %s", where)
		}
	}
	c.must(c.shop.Stop())
	mu.Lock()
	defer mu.Unlock()
	if found := givesAway(heard.Bytes()); found != "" || !bytes.Contains(heard.Bytes(), []byte(sealedCode)) {
		t.Errorf("the platform has heard %s", found)
	}
	c.search()
}

// complete holds the list of calls against the edge's own description: none of its calls, parameters and fields may be left out.
func (c *canary) complete() {
	r, err := http.NewRequestWithContext(c.ctx, "GET", "http://"+c.shop.Endpoint+"/v1/openapi.json", nil)
	c.must(err)
	answer, err := canaryClient.Do(r)
	c.must(err)
	defer answer.Body.Close()
	var d description
	c.must(json.NewDecoder(answer.Body).Decode(&d.root))
	n := 0
	for path, methods := range d.at(d.root, "paths") {
		for method, described := range methods.(map[string]any) {
			if method == "parameters" {
				continue
			}
			n++
			at := slices.IndexFunc(apiCalls, func(call apiCall) bool { return call.path == path && strings.EqualFold(call.method, method) })
			if at < 0 {
				c.t.Errorf("%s %s is left out", method, path)
				continue
			}
			call := apiCalls[at]
			parameters, _ := described.(map[string]any)["parameters"].([]any)
			for _, p := range parameters {
				name, in := d.at(p)["name"].(string), d.at(p)["in"].(string)
				if in == "query" && !slices.Contains(call.query, name) || in == "header" && !slices.Contains(readHeaders, name) {
					c.t.Errorf("%s %s: the %s parameter %s is left out", method, path, in, name)
				}
			}
			for name := range d.at(described, "requestBody", "content", "application/json", "schema", "properties") {
				if _, ok := call.body[name]; !ok {
					c.t.Errorf("%s %s: the field %s is left out", method, path, name)
				}
			}
		}
	}
	if n < 9 {
		c.t.Errorf("the description has %d calls", n)
	}
}

// description is an OpenAPI document.
type description struct{ root any }

// at goes down into v, and follows references.
func (d description) at(v any, names ...string) map[string]any {
	m, _ := v.(map[string]any)
	if ref, ok := m["$ref"].(string); ok {
		m = d.at(d.root, strings.Split(strings.TrimPrefix(ref, "#/"), "/")...)
	}
	if len(names) == 0 || m == nil {
		return m
	}
	return d.at(m[names[0]], names[1:]...)
}

// technician does with the real programs what takes words.
func (c *canary) technician() {
	edge, hub := build(c.t, "tideover"), build(c.t, "tideover-hub")
	backup := c.shop.path("backup.db")
	for what, secret := range canaries {
		for _, args := range [][]string{
			{edge, "queue", "drop", c.id, "--reason", secret},
			{edge, "queue", "settle", c.id, "--as", "approved", "--reason", secret},
			{edge, "queue", "show", secret},
			{edge, "queue", "cancel", secret},
			{edge, "queue", "list", "--terminal", secret},
			{edge, "queue", "list", "--state", secret},
			{edge, "terminal", "pair", "--name", secret},
			{edge, "terminal", "revoke", secret},
			{edge, "reconcile", "--date", secret},
			{edge, "receipt", "verify", secret},
			{hub, "store", "add", secret},
			{hub, "store", "show", secret},
			{hub, "store", "revoke", secret},
			{hub, "transaction", "show", secret},
		} {
			config := c.shop.EdgeConfig()
			if args[0] == hub {
				config = c.shop.HubConfig()
			}
			said := command(c.t, nil, args[0], append(args[1:], "--config", config)...)
			if found := givesAway([]byte(said.out + said.words)); found != "" {
				c.t.Errorf("%s with %s: it says %s", strings.Join(args[1:len(args)-1], " "), what, found)
			}
			if said.status == 0 && args[2] != "list" {
				c.t.Errorf("%s with %s is taken: %s", strings.Join(args[1:len(args)-1], " "), what, said.out)
			}
		}
	}
	for _, args := range [][]string{{"queue", "export"}, {"queue", "export", "--json"}, {"queue", "list"}, {"queue", "show", c.id}, {"terminal", "list"}, {"status"}, {"reconcile"}, {"reconcile", "--json"}} {
		said := command(c.t, nil, edge, append(args, "--config", c.shop.EdgeConfig())...)
		if found := givesAway([]byte(said.out + said.words)); found != "" || !strings.Contains(said.out, "till-1") && args[0] == "queue" {
			c.t.Errorf("%v says %s%.300s", args, found, said.out)
		}
	}
	if _, err := c.shop.HubCommand(c.ctx, "ledger", "backup", backup); err != nil {
		c.t.Error(err)
	}
}

// search reads every file of the shop: both state directories, the logs, the hub's backup. That it would find something is shown by
// what is there: the id of a transaction in the log, the name of a till in journal, ledger and backup.
func (c *canary) search() {
	wanted := map[string]string{
		"edge.log": c.id, "hub.log": "store", "backup.db": "till-1", filepath.Join("edge", "queue.db"): "till-1", filepath.Join("hub", "ledger.db"): "till-1",
	}
	c.must(filepath.WalkDir(c.shop.Dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(c.shop.Dir, path)
		if found := givesAway(b); found != "" {
			c.t.Errorf("%s holds %s", name, found)
		}
		if bytes.Contains(b, []byte(sealedCode)) {
			c.t.Errorf("%s holds a pay code in clear", name)
		}
		if want := wanted[name]; want != "" && bytes.Contains(b, []byte(want)) {
			delete(wanted, name)
		}
		return err
	}))
	if len(wanted) > 0 {
		c.t.Errorf("the search finds nothing where something is: %v", wanted)
	}
}
