package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"tideover/daemon"
)

// drainMax is how long a signalled daemon may take to end what it is doing; then the process ends all the same. Whatever was answered
// is on disk by then: ending is always safe.
const drainMax = 9500 * time.Millisecond

func (p *program) runCommand() *cobra.Command {
	return &cobra.Command{
		Use: "run", Short: p.t("run the daemon in the foreground", "在前台运行守护进程"), Args: p.noArgs,
		Long: p.t(`Runs the daemon in the foreground; this is what the service runs.

SIGTERM drains it and ends it within 10 seconds; a second one ends it at once. SIGHUP reads the configuration again and says in the log
what would need a restart.`, `在前台运行守护进程；系统服务运行的就是此命令。

SIGTERM 使其收尾并在 10 秒内退出；再次收到则立即退出。SIGHUP 重新读取配置，并在日志中说明哪些改动需要重启才能生效。`),
		Example: "  tideover run --config /etc/tideover/tideover.toml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			source := daemon.Source{Path: p.config, Environ: os.Environ()}
			c, err := daemon.LoadConfig(source)
			if err != nil {
				return p.missingConfig(err)
			}
			log := newLog(p.err)
			for _, w := range c.Warnings() {
				log.Warn("configuration", "what", w.Error())
			}
			return serve(cmd.Context(), c, source, log)
		},
	}
}

// newLog writes text to a terminal, and JSON to everything else: a service manager, a file.
func newLog(w io.Writer) *slog.Logger {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, nil))
		}
	}
	return slog.New(slog.NewJSONHandler(w, nil))
}

// serve runs the daemon until a signal or an error ends it.
func serve(ctx context.Context, c daemon.Config, source daemon.Source, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)
	go func() {
		// Left to itself: it ends with the process, which follows the daemon's end at once.
		obey(signals, drainMax, cancel, func() { reload(c, source, log) }, log)
	}()
	return daemon.Run(ctx, c, log)
}

// obey acts on signals until their channel is closed: the first to stop drains, the second ends the process, as does a drain that
// outlasts patience; the timer of that is returned.
func obey(signals <-chan os.Signal, patience time.Duration, drain, reload func(), log *slog.Logger) (overtime *time.Timer) {
	for s := range signals {
		switch {
		case s == syscall.SIGHUP:
			reload()
		case overtime != nil:
			log.Warn("ending at once", "signal", s.String())
			os.Exit(exitFailed)
		default:
			log.Info("stopping", "signal", s.String())
			overtime = time.AfterFunc(patience, func() {
				log.Warn("not everything could be ended in time; what was answered is on disk, and the rest is asked for at the next start")
				os.Exit(exitWell)
			})
			drain()
		}
	}
	return overtime
}

// reload reads the configuration again and says what a restart would change; the running one stays.
func reload(running daemon.Config, source daemon.Source, log *slog.Logger) {
	next, err := daemon.LoadConfig(source)
	if err != nil {
		for _, e := range explanations(err) {
			log.Error("the configuration is wrong; the running one stays", "err", e.Error())
		}
		return
	}
	changes := running.Changes(next)
	if len(changes) == 0 {
		log.Info("configuration read again; nothing has changed")
	}
	for _, c := range changes {
		log.Warn("a changed key takes effect at the next restart", "key", c.Key, "running", c.Old, "file", c.New)
	}
}
