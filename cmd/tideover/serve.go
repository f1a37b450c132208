package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"tideover"
	"tideover/daemon"
	"tideover/internal/command"
)

// drainMax is how long a signalled daemon may take to end what it is doing; then the process ends all the same. Whatever was answered
// is on disk by then: ending is always safe.
const drainMax = 9500 * time.Millisecond

func (p *program) runCommand() *command.Command {
	return &command.Command{
		Use: "run", Short: p.t("run the daemon in the foreground", "在前台运行守护进程"), Args: p.noArgs,
		Long: p.t(`Runs the daemon in the foreground; this is what the service runs.

SIGTERM drains it and ends it within 10 seconds; a second one ends it at once. SIGHUP reads the configuration again: changed rules
([limits], [duplicates], [[method]]) take effect at once, and the log says what needs a restart.`, `在前台运行守护进程；系统服务运行的就是此命令。

SIGTERM 使其收尾并在 10 秒内退出；再次收到则立即退出。SIGHUP 重新读取配置：改动的规则
（[limits]、[duplicates]、[[method]]）立即生效，需要重启的改动会写入日志。`),
		Example: "  tideover run --config /etc/tideover/tideover.toml",
		RunE: func(cmd *command.Command, _ []string) error {
			c, err := daemon.LoadConfig(daemon.Source{Path: p.config, Environ: os.Environ()})
			if err != nil {
				return p.missingConfig(err)
			}
			log := newLog(p.err)
			for _, w := range c.Warnings() {
				log.Warn("configuration", "what", w.Error())
			}
			return serve(cmd.Context(), c, log)
		},
	}
}

// newLog writes text to a terminal, and JSON to everything else: a service manager, a file. Card data is masked.
func newLog(w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{ReplaceAttr: tideover.MaskAttr}
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return slog.New(slog.NewTextHandler(w, options))
		}
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// serve runs the daemon until a signal or an error ends it.
func serve(ctx context.Context, c daemon.Config, log *slog.Logger) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt, syscall.SIGHUP)
	defer signal.Stop(signals)
	reload := make(chan struct{}, 1)
	go func() {
		// Left to itself: it ends with the process, which follows the daemon's end at once.
		obey(signals, drainMax, cancel, func() {
			select {
			case reload <- struct{}{}:
			default: // one that waits reads the file as it is now
			}
		}, log)
	}()
	return daemon.Run(ctx, c, reload, log)
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
