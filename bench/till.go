package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"tideover"
)

// till is one simulated till, which keeps its connection.
type till struct {
	name   string
	client *http.Client
}

func newTills(n int) []till {
	all := make([]till, n)
	for i := range all {
		all[i] = till{name: fmt.Sprintf("till-%d", i), client: &http.Client{Transport: &http.Transport{DisableCompression: true}}}
	}
	return all
}

// saleBody is a usual sale, of an order of its own: another press of the same order would be a suspected duplicate.
func saleBody(order string) string {
	return `{"kind":"sale","amount":1299,"currency":"CNY","method":"qr","order":"` + order + `","operator":"lin","payload":{"pos":"bench"}}`
}

// sell posts a sale under a key and waits at most as long as the edge is told to. Another status than the wanted one is an error.
func (t till) sell(ctx context.Context, url, key, wait string, want int) ([]byte, error) {
	return t.post(ctx, url, saleBody(t.name+"-"+key), want, "Idempotency-Key", key, "Prefer", "wait="+wait)
}

// confirmed sells and wants the platform's approval as the answer.
func (t till) confirmed(ctx context.Context, edge, key string) (tx tideover.Transaction, err error) {
	answer, err := t.sell(ctx, edge+"/v1/transactions", key, "20", http.StatusOK)
	if err != nil {
		return tx, err
	}
	if err := json.Unmarshal(answer, &tx); err != nil {
		return tx, err
	}
	if tx.State != tideover.StateApproved {
		return tx, fmt.Errorf("transaction %s is %s", tx.ID, tx.State)
	}
	return tx, nil
}

// acknowledge says that an end was printed.
func (t till) acknowledge(ctx context.Context, edge string, tx tideover.Transaction) error {
	body := fmt.Sprintf(`{"seq":%d}`, tx.Seq)
	_, err := t.post(ctx, edge+"/v1/transactions/"+tx.ID.String()+"/ack", body, http.StatusNoContent)
	return err
}

func (t till) post(ctx context.Context, url, body string, want int, headers ...string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Tideover-Terminal", t.name)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s: status %d, want %d: %s", url, resp.StatusCode, want, answer)
	}
	return answer, err
}
