package hub

import (
	"log/slog"

	"tideover"
	"tideover/hub/desk"
	"tideover/hub/ledger/bolt"
	"tideover/hub/platform"
	platformhttp "tideover/hub/platform/http"
	"tideover/hub/platform/sandbox"
	"tideover/wire"
)

// newPlatform makes the adapter that the configuration names.
func newPlatform(c PlatformConfig) (platform.Platform, error) {
	if c.Adapter == AdapterSandbox {
		return sandbox.New(sandbox.Options{}), nil
	}
	p, err := platformhttp.New(c.URL)
	if err != nil {
		return nil, &Error{
			What: text("platform.url", "platform.url"), Err: err,
			Hint: text(`write it like "https://platform.example.com/v1"`, `请写成 "https://platform.example.com/v1" 的形式`),
		}
	}
	return p, nil
}

// newDesk makes the executor over the ledger and the configured platform.
func newDesk(
	c PlatformConfig, l *bolt.Ledger, log *slog.Logger, sign func(*tideover.Receipt) tideover.Proof, push func(string, wire.Confirmation),
) (*desk.Desk, error) {
	p, err := newPlatform(c)
	if err != nil {
		return nil, err
	}
	return desk.New(desk.Config{
		Ledger: l, Platform: p, Idempotent: c.Guarantee == GuaranteeIdempotent, Timeout: c.Timeout, Push: push,
		Sign: sign, Log: log,
	}), nil
}
