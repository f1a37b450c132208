package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"strconv"
	"strings"

	"tideover"
	"tideover/control"
	"tideover/internal/columns"
	"tideover/internal/command"
)

func (p *program) exportQueue() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "export", Short: p.t("write out every transaction in the journal", "导出日志中的全部交易"), Args: p.noArgs,
		Long: p.t("Writes out every transaction in the journal, the newest first: as CSV with a line of names, or with --json as one line of JSON each,\n"+
			"with its history. Amounts are in minor units, times in UTC. No payload and no pay code is ever part of it.\n"+
			"Text that a spreadsheet would take for a formula has an apostrophe put before it.",
			"导出日志中的全部交易，最新的在前：默认为带表头的 CSV；--json 时每笔一行 JSON，含经过。\n金额以最小货币单位表示，时间为 UTC。绝不包含支付报文和付款码。\n会被表格软件当作公式的文字前加撇号。"),
		Example: "  tideover queue export > transactions.csv\n  tideover queue export --json | gzip > transactions.jsonl.gz",
		RunE: func(cmd *command.Command, _ []string) error {
			client, err := p.client()
			if err != nil {
				return err
			}
			out := bufio.NewWriter(p.out)
			write := jsonLines(out)
			if !p.json {
				if write, err = csvLines(out); err != nil {
					return err
				}
			}
			if err := client.Export(cmd.Context(), write); err != nil {
				_ = out.Flush() // what is there may help; the error says that it is not the whole
				return err
			}
			return out.Flush()
		},
	})
}

// jsonLines writes transactions as the API does, one to a line.
func jsonLines(out *bufio.Writer) func(control.Detail) error {
	lines := json.NewEncoder(out)
	lines.SetEscapeHTML(false)
	return func(d control.Detail) error { return lines.Encode(d) }
}

// csvNames are the columns of an export, named as in the API where it has them.
var csvNames = []string{
	"id", "terminal", "key", "kind", "amount", "currency", "method", "order", "original", "operator", "state", "final", "code", "message",
	"reference", "outcome_at", "delivered", "acknowledged", "not_handed_over", "corrected", "seq", "created_at", "updated_at", "expires_at",
	"people",
}

// csvLines writes the names, and then transactions, one to a line.
func csvLines(out *bufio.Writer) (func(control.Detail) error, error) {
	lines := csv.NewWriter(out)
	write := func(cells []string) error {
		err := lines.Write(cells)
		lines.Flush()
		if err == nil {
			err = lines.Error()
		}
		return err
	}
	return func(d control.Detail) error {
		cells := csvCells(d)
		for i := range cells {
			cells[i] = cell(cells[i])
		}
		return write(cells)
	}, write(csvNames)
}

// csvCells are what a transaction has in each column of [csvNames]. The last tells what people did to it.
func csvCells(d control.Detail) []string {
	t, o := d.Transaction, tideover.Outcome{}
	if t.Outcome != nil {
		o = *t.Outcome
	}
	original := ""
	if !t.Original.IsZero() {
		original = t.Original.String()
	}
	var people []string
	for _, e := range d.History {
		if e.By != "" && e.By != control.ByHub {
			people = append(people, strings.TrimSpace(instant(e.At)+" "+e.Event+" by "+e.By+" "+e.Detail))
		}
	}
	return []string{
		t.ID.String(), t.Terminal, t.Key, t.Kind.String(), strconv.FormatInt(t.Amount, 10), t.Currency, t.Method, t.Order, original, t.Operator,
		t.State.String(), strconv.FormatBool(t.Final()), o.Code, o.Message, o.Reference, instant(o.At), strconv.FormatBool(t.Delivered),
		strconv.FormatBool(t.Acknowledged), strconv.FormatBool(t.NotHandedOver), strconv.FormatBool(t.Corrected),
		strconv.FormatUint(t.Seq, 10), instant(t.CreatedAt), instant(t.UpdatedAt), instant(t.ExpiresAt), strings.Join(people, " | "),
	}
}

// instant writes a time as the API does; "" where it is not known.
func instant(m tideover.Millis) string {
	if m == 0 {
		return ""
	}
	return m.Time().Format("2006-01-02T15:04:05.000Z07:00")
}

// cell makes a text safe in a spreadsheet. Orders, keys and operators come from tills, messages from the platform: one that begins like
// a formula would be computed where the file is opened. The same goes for what follows a separator, since a spreadsheet may split
// lines by another one than ours; and an export has one line for each transaction.
func cell(text string) string {
	var b strings.Builder
	begins := true
	for _, r := range columns.Plain(text) {
		if begins && strings.ContainsRune("=+-@＝＋－＠", r) {
			b.WriteByte('\'')
		}
		begins = strings.ContainsRune(",;|", r) || begins && strings.ContainsRune(" \"\u3000\u00a0", r)
		b.WriteRune(r)
	}
	return b.String()
}
