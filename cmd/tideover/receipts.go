package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"tideover"
	"tideover/control"
	"tideover/install"
	"tideover/internal/command"
)

// keyFileMax bounds a file of public keys, in bytes.
const keyFileMax = 64 << 10

func (p *program) receiptCommand() *command.Command {
	return p.group("receipt", p.t("the receipts that the hub has signed", "hub 签名的收据"), "  tideover receipt verify receipt.json",
		p.showReceipt(), p.verifyReceipt())
}

func (p *program) showReceipt() *command.Command {
	return p.jsonFlag(&command.Command{
		Use: "show ID", Short: p.t("print the receipt of a transaction", "输出一笔交易的收据"), Args: p.oneArg("ID"),
		Long: p.t("Prints the signed receipt of a transaction's end, as on paper, or with --json as the API has it.\nBoth forms hold everything that is signed: `receipt verify` reads either.",
			"输出交易最终结果的签名收据：默认为纸质格式，--json 则为 API 格式。\n两种格式都包含全部签名内容，`receipt verify` 均可读取。"),
		Example: "  tideover receipt show 8m3k0q6tq2v9c4x1n5r7w8y0zc\n  tideover receipt show 8m3k0q --json > receipt.json",
		RunE: func(cmd *command.Command, args []string) error {
			client, err := p.clientAbout(args[0])
			if err != nil {
				return err
			}
			r, err := client.Receipt(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return p.print(r, func() { p.write(r.Text(p.in())) })
		},
	})
}

// write prints a result as it stands.
func (p *program) write(text string) {
	if _, err := io.WriteString(p.out, text); err != nil && p.wrote == nil {
		p.wrote = err
	}
}

func (p *program) verifyReceipt() *command.Command {
	var key string
	var offline bool
	c := p.jsonFlag(&command.Command{
		Use: "verify FILE", Short: p.t("check a receipt, and compare it with the record", "校验收据，并与记录比对"), Args: p.oneArg("FILE"),
		Long: p.t("Checks the signature of a receipt, as JSON or as it was printed, and, where the daemon runs, compares it with the journal.\n"+
			"\"-\" reads standard input. Without --key the keys count that this router has heard of.\n\n"+
			"Status 0: it is good. 1: it was changed, is none, or is of an unknown key, or the record says otherwise by now. 2: it cannot be read.",
			"校验收据的签名（JSON 或打印格式）；守护进程运行时还会与日志比对。\n写 \"-\" 则从标准输入读取。未给出 --key 时使用本机已获知的密钥。\n\n"+
				"退出码 0：有效。1：已被改动、不是收据、密钥未知，或记录现已不同。2：无法读取。"),
		Example: "  tideover receipt verify receipt.json\n  tideover receipt verify receipt.txt --key hub.pub --offline\n  tideover receipt verify - --json < receipt.json",
		RunE: func(cmd *command.Command, args []string) error {
			b, err := p.readFile(args[0], tideover.ReceiptMax+1)
			if err != nil {
				return err
			}
			keys, err := p.receiptKeys(cmd, key)
			if err != nil {
				return err
			}
			v, refused := judgeReceipt(args[0], b, keys)
			if v.Good && !offline {
				if err := p.compare(cmd.Context(), &v); err != nil {
					return err
				}
			}
			if err := p.print(v, func() { p.receiptSheet(v) }); err != nil {
				return err
			}
			if refused != nil {
				return refused
			}
			if v.Compared == comparedDiffers || v.Compared == comparedUnknown {
				return exitStatus(exitRefused)
			}
			return nil
		},
	})
	c.Flags().StringVar(&key, "key", "", p.t("the hub's public key: a `FILE`, or 64 hexadecimal digits", "hub 的公钥：`文件`，或 64 位十六进制数"))
	c.Flags().BoolVar(&offline, "offline", false, p.t("check the signature alone", "只校验签名"))
	return c
}

// What became of comparing a receipt with the record.
const (
	comparedNot     = "no" // no daemon was asked, or none answered
	comparedEqual   = "equal"
	comparedDiffers = "differs"
	comparedUnknown = "unknown" // the journal has no such transaction
)

// receiptVerdict answers `receipt verify`.
type receiptVerdict struct {
	Good     bool                  `json:"good"`              // the signature holds
	Refused  string                `json:"refused,omitempty"` // else why: not_a_receipt, unknown_key or changed
	Receipt  *tideover.Receipt     `json:"receipt"`           // null where it is none
	Compared string                `json:"compared"`          // no, equal, differs or unknown
	State    string                `json:"state,omitempty"`   // of the record, now
	Differs  []tideover.Difference `json:"differs"`

	why *failure // where the journal was not asked, or has no such transaction
}

// readFile reads a file, or standard input for "-", and at most so many bytes of it.
func (p *program) readFile(path string, most int64) ([]byte, error) {
	from := p.streams.in
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, &failure{
				what: tideover.Textf("%s cannot be read: %v", "无法读取 %s：%v", path, errors.Unwrap(err)),
				hint: tideover.Textf("name a file that this user may read, or - for standard input", "请指定当前用户可读的文件，或用 - 表示标准输入"), err: err,
			}
		}
		defer f.Close()
		from = f
	}
	b, err := io.ReadAll(io.LimitReader(from, most))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return b, nil
}

// receiptKeys returns the keys to check by: those of --key, or those of the state directory.
func (p *program) receiptKeys(cmd *command.Command, given string) ([]ed25519.PublicKey, error) {
	if given == "" {
		c, err := p.load()
		if err != nil {
			return nil, err
		}
		return install.ReceiptKeys(c.StateDir)
	}
	if _, err := os.Stat(given); errors.Is(err, fs.ErrNotExist) {
		keys, err := install.ParseReceiptKeys([]byte(given))
		if err != nil {
			return nil, p.misuse(cmd.CommandPath(), "--key %q is neither a file nor 64 hexadecimal digits", "--key %q 既不是文件，也不是 64 位十六进制数", given)
		}
		return keys, nil
	}
	b, err := p.readFile(given, keyFileMax)
	if err != nil {
		return nil, err
	}
	keys, err := install.ParseReceiptKeys(b)
	if err != nil {
		return nil, &failure{
			what: tideover.Textf("%s holds no public key of receipts: %v", "%s 中没有收据公钥：%v", given, err),
			hint: tideover.Textf("give the output of: tideover-hub receipt key", "请使用 tideover-hub receipt key 的输出"), err: err,
		}
	}
	return keys, nil
}

// judgeReceipt checks a receipt's signature. refused is nil where it is good.
func judgeReceipt(name string, b []byte, keys []ed25519.PublicKey) (v receiptVerdict, refused error) {
	v = receiptVerdict{Compared: comparedNot, Differs: []tideover.Difference{}}
	r, err := tideover.ParseReceipt(b)
	if err != nil {
		v.Refused = "not_a_receipt"
		return v, &failure{
			what: tideover.Textf("%s is refused: %v", "%s 无效：不是收据（%v）", name, err), exit: exitRefused, err: err,
			hint: tideover.Textf("give the whole receipt as it was handed out or printed", "请提供完整的收据（API 返回或打印的原文）"),
		}
	}
	v.Receipt = &r
	for _, key := range keys {
		if r.Key != tideover.KeyIDOf(key) {
			continue
		}
		if err := r.Verify(key); err != nil {
			v.Refused = "changed"
			return v, &failure{
				what: tideover.Textf("%s is refused: it was changed after it was signed", "%s 无效：签名之后内容被改动", name), exit: exitRefused, err: err,
				hint: tideover.Textf("do not act on it; look at the record: tideover queue show %s", "请勿据此办理；请查看记录：tideover queue show %s", r.ID),
			}
		}
		v.Good = true
		return v, nil
	}
	v.Refused = "unknown_key"
	return v, &failure{
		what: tideover.Textf("%s is refused: it is signed with the key %s, which is not known here", "%s 无效：其签名密钥 %s 在此未知", name, r.Key),
		exit: exitRefused, err: tideover.ErrReceiptKey,
		hint: tideover.Textf("give that hub's key with --key; it prints it: tideover-hub receipt key", "请用 --key 给出该 hub 的公钥；在 hub 上运行 tideover-hub receipt key 可输出"),
	}
}

// compare holds a good receipt against the record, where a daemon answers.
func (p *program) compare(ctx context.Context, v *receiptVerdict) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	said, err := client.Compare(ctx, *v.Receipt)
	refused, answered := errors.AsType[*control.Error](err)
	switch {
	case errors.Is(err, control.ErrUnreachable):
		v.why = &failure{what: tideover.Textf("not compared with the record: no daemon answers here", "未与记录比对：本机没有守护进程应答"), err: err}
	case answered && refused.Code == string(tideover.CodeUnknownTransaction):
		v.Compared = comparedUnknown
		v.why = &failure{what: refused.What, hint: refused.Hint}
	case err != nil:
		return err
	default:
		v.State, v.Compared = said.State.String(), comparedEqual
		if v.Differs = said.Differs; len(said.Differs) > 0 {
			v.Compared = comparedDiffers
		}
	}
	return nil
}

// receiptSheet tells people what a receipt is worth.
func (p *program) receiptSheet(v receiptVerdict) {
	if !v.Good {
		return // the refusal says why
	}
	r := v.Receipt
	p.line(fmt.Sprintf(p.t("the receipt is good: %s, %s, %s", "收据有效：%s，%s，%s"), p.kind(r.Kind), tideover.Money(r.Amount, r.Currency), p.state(r.State)))
	switch {
	case v.Compared == comparedEqual:
		p.line(p.t("the record says the same", "与记录一致"))
	case v.Compared == comparedDiffers && v.State != r.State.String():
		var now tideover.State
		_ = now.UnmarshalText([]byte(v.State))
		p.line(fmt.Sprintf(p.t("since then: %s", "此后变为：%s"), p.state(now)))
	case v.Compared == comparedDiffers:
		p.line(p.t("the record says otherwise", "与记录不一致"))
	}
	if len(v.Differs) > 0 {
		rows := [][]string{{p.t("FIELD", "字段"), p.t("RECEIPT", "收据"), p.t("RECORD", "记录")}}
		for _, d := range v.Differs {
			rows = append(rows, []string{d.Field, orDash(d.Receipt), orDash(d.Record)})
		}
		p.sheet(rows)
	}
	if v.why != nil {
		p.say(v.why.what.In(p.in()), v.why.hint.In(p.in()))
	}
}
