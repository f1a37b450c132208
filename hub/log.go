package hub

import (
	"io"
	"log/slog"
	"os"

	"tideover"
)

// newLog writes text to a terminal and JSON to everything else, which is a service manager or a test. Card data is masked.
func newLog(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: tideover.MaskAttr}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, options))
		}
	}
	return slog.New(slog.NewJSONHandler(w, options))
}
