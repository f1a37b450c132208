package hub

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tideover"
)

// fileReceiptKey signs receipts. Its id stands in hub.json from the first start that knows of receipts on: a key that has gone missing later is
// an error, never made anew. One that another has taken the place of is used: receipts from before stay good with the key from before.
const fileReceiptKey = "receipt.key" // PEM

// openReceiptKey reads the key that receipts are signed with, and makes it where the directory never had one. Whoever has it open holds the
// lock. hub.json is written where the directory is set up already; else the caller finishes it with the key's id.
func openReceiptKey(dir string, done bool, log *slog.Logger) (ed25519.PrivateKey, error) {
	var id identity
	if done {
		var err error
		if id, err = readIdentity(dir); err != nil {
			return nil, err
		}
	}
	if _, err := os.Stat(filepath.Join(dir, fileReceiptKey)); errors.Is(err, fs.ErrNotExist) && id.ReceiptKey == "" {
		if err := writeReceiptKey(dir); err != nil {
			return nil, diskError("make the key of receipts in %s", "无法在 %s 中生成收据密钥", err, dir)
		}
	}
	key, err := readKey[ed25519.PrivateKey](dir, fileReceiptKey, "ed25519")
	if err != nil {
		return nil, err
	}
	name := tideover.KeyIDOf(publicOf(key)).String()
	switch {
	case !done || id.ReceiptKey == name:
		return key, nil
	case id.ReceiptKey == "":
		log.Info("receipts are signed from now on", "key", name)
	default:
		log.Warn("receipts are signed with another key from now on", "key", name, "before", id.ReceiptKey)
	}
	id.ReceiptKey = name
	if err := writeIdentity(dir, id); err != nil {
		return nil, diskError("write %s", "无法写入 %s", err, filepath.Join(dir, fileIdentity))
	}
	return key, nil
}

func publicOf(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }

func writeReceiptKey(dir string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(dir, fileReceiptKey, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// readIdentity reads hub.json of a directory that is set up.
func readIdentity(dir string) (id identity, err error) {
	b, err := readFile(dir, fileIdentity)
	if err != nil {
		return id, err
	}
	if err := json.Unmarshal(b, &id); err != nil {
		return id, damaged(dir, fileIdentity, err)
	}
	return id, nil
}

// signer signs receipts for the desk.
func (k *keyring) signer() func(*tideover.Receipt) tideover.Proof {
	return func(r *tideover.Receipt) tideover.Proof { return r.Sign(k.receipt) }
}

// receiptKey is the public key as edges are told it.
func (k *keyring) receiptKey() (key [ed25519.PublicKeySize]byte) {
	copy(key[:], publicOf(k.receipt))
	return key
}

// ReceiptKey answers `receipt key`.
type ReceiptKey struct {
	KeyID string `json:"key_id"` // 16 hexadecimal digits, as receipts name it
	PEM   string `json:"pem"`    // the public key
}

// ReceiptKey returns the public key that receipts are checked with.
func (s *stores) ReceiptKey(context.Context) (ReceiptKey, error) {
	key := publicOf(s.state.keys.receipt)
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ReceiptKey{}, err
	}
	return ReceiptKey{
		KeyID: tideover.KeyIDOf(key).String(), PEM: string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	}, nil
}

func (c *client) ReceiptKey(ctx context.Context) (ReceiptKey, error) {
	return call[ReceiptKey](ctx, c, http.MethodGet, "/v1/receipt-key", nil)
}

func (p *program) receiptCommand() *cobra.Command {
	key := p.jsonFlag(&cobra.Command{
		Use: "key", Short: p.t("print the public key that receipts are checked with", "输出用于校验收据的公钥"), Args: p.noArgs,
		Example: "  tideover-hub receipt key >hub.pub\n  tideover receipt verify receipt.json --key hub.pub",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withOperator(cmd.Context(), p, func(ctx context.Context, o operator) error {
				k, err := o.ReceiptKey(ctx)
				if err != nil {
					return err
				}
				return p.print(k, func() {
					fmt.Fprint(p.streams.Out, k.PEM)
					fmt.Fprintf(p.streams.Err, p.t("receipts name it %s\n", "收据中的密钥编号为 %s\n"), k.KeyID)
				})
			})
		},
	})
	return p.group("receipt", p.t("the receipts that this hub signs", "本 hub 签名的收据"), key)
}
