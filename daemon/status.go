package daemon

import (
	"context"
	"encoding/hex"
	"os"
	"time"

	"tideover"
	"tideover/control"
	"tideover/rules"
	"tideover/terminal"
)

// Status implements control.Backend.
func (r *Router) Status() control.Status {
	up, st := r.uplink.State(), r.queue.Stats()
	s := control.Status{
		Version: tideover.Version, Store: r.id.Store, PID: os.Getpid(), StartedAt: tideover.MillisOf(r.started),
		Now: tideover.MillisOf(time.Now()),
		Hub: control.Hub{
			Connected: up.Connected, Address: up.Address, Since: tideover.MillisOf(up.Since), CaughtUp: r.forward.Past().Caught,
		},
		Queue: control.Queue{
			Pending: st.Pending, OldestAt: st.Oldest, ByState: make(map[string]int), OpenAmounts: st.Amounts,
			Unacknowledged: st.Unacknowledged,
		},
		Endpoint: control.Endpoint{
			Listen: r.endpoint.Addr().String(), Access: r.config.Endpoint.Access, TLS: r.config.Endpoint.TLS,
			Accepting: r.health().Accepting,
		},
		Storage: control.Storage{
			Path: QueuePath(r.config.StateDir), FileBytes: st.FileBytes, InsideBytes: st.InsideBytes, FreeBytes: st.FreeBytes, Commits: st.Commits, Syncs: st.Syncs,
			Seq: st.HeadSeq, Head: hex.EncodeToString(st.HeadHash[:]), HaveThrough: st.HaveThrough,
		},
		Keys:        control.Keys{Seals: shortKey(r.queue.SealingKey()), Older: r.queue.HeldKeys() - 1},
		Rules:       rulesOf(r.judge.now.Load().on),
		Certificate: control.Certificate{Serial: r.id.Serial(), NotAfter: tideover.MillisOf(r.id.NotAfter())},
	}
	for state, n := range st.ByState {
		s.Queue.ByState[state.String()] = n
	}
	r.single(&s)
	link := control.Uplink{
		Name: up.Name, Interface: link(r.config).Interface, Connected: up.Connected, Address: up.Address,
		RTTMillis: float64(up.RTT) / float64(time.Millisecond), Since: tideover.MillisOf(up.Since),
	}
	if up.Connected {
		s.Hub.Uplink = up.Name
	}
	if up.Err != nil {
		link.Error, s.Hub.Error, s.Hub.Refused = up.Err.Error(), up.Err.Error(), up.Refused()
	}
	s.Uplinks = []control.Uplink{link}
	s.Hub.LedgerTime, _ = r.forward.clock.Now()
	for _, t := range r.queue.Terminals() {
		if t.Revoked {
			s.Terminals.Revoked++
		} else {
			s.Terminals.Paired++
		}
	}
	s.Alarms = r.alarms()
	s.Verdict = control.Judge(s, r.judge.now.Load().Limits.OfflineAgeMax)
	return s
}

// single fills in which transactions stand out: the oldest of each open state, and what is paid and not handed over.
func (r *Router) single(s *control.Status) {
	s.Queue.Oldest = make(map[string]control.Oldest)
	r.queue.Live(func(t tideover.Transaction) {
		if control.See(t, s.Now).NotHandedOver {
			s.Queue.NotHandedOver++
		}
		state := t.State.String()
		if o, ok := s.Queue.Oldest[state]; !t.Final() && (!ok || t.CreatedAt < o.At) {
			s.Queue.Oldest[state] = control.Oldest{ID: t.ID, At: t.CreatedAt}
		}
	})
}

// alarms are what only the daemon itself can know.
func (r *Router) alarms() []control.Finding {
	alarms := []control.Finding{}
	past, welcome, open := r.forward.Past(), r.session.heard(), r.queue.Reopened() > 0
	if past.Superseded {
		alarms = append(alarms, control.Finding{
			Code: "superseded",
			What: tideover.Textf("another router has taken over this store", "另一台路由器已接管本店"),
			Next: tideover.Textf("stop this one, or enroll it again with a fresh token", "请停用本机，或用新的令牌重新注册"),
		})
	}
	if welcome.Replay {
		alarms = append(alarms, control.Finding{
			Code: "replaying",
			What: tideover.Textf("the hub was restored from an older copy, and is told again how transactions ended; until then nothing is sent",
				"hub 是从较旧的备份恢复的，本机正在重新告知各交易的结果；完成前不发送任何交易"),
			Next: tideover.Textf("wait a minute; if it stays, tell who runs the hub", "请稍等一分钟；若仍未完成，请通知 hub 的管理者"),
		})
	}
	manual := tideover.Textf("look at what needs a person: tideover queue list --state manual; let go what was not sold elsewhere "+
		"(tideover queue release ID), and say how the rest ended (tideover queue settle ID --as END --reason TEXT)",
		"请查看需人工处理的交易：tideover queue list --state manual；未在别处收款的可恢复（tideover queue release 编号），其余请结清"+
			"（tideover queue settle 编号 --as 结果 --reason 原因）")
	switch {
	case past.Restored:
		alarms = append(alarms, control.Finding{
			Code: "restored", Note: !open, Next: manual,
			What: tideover.Textf("this journal is older than the one that the hub has heard of: what it holds open is asked about, and not sent",
				"本机日志比 hub 已知的旧：其中未决的交易只查询，不发送"),
		})
	case past.Gap:
		alarms = append(alarms, control.Finding{
			Code: "gap", Note: true, Next: manual,
			What: tideover.Textf("this journal lacks part of the shop's past, since a router was replaced or restored: cancels and expiries wait for the hub",
				"因更换或恢复过路由器，本机日志缺少门店的部分历史：取消和过期须等待 hub 判定"),
		})
	case past.Orphans && past.Caught:
		alarms = append(alarms, control.Finding{
			Code: "orphans", Note: true,
			What: tideover.Textf("this router died with sales on their way, and its hub has not told all that it holds open: cancels and expiries wait for the hub",
				"本机曾在交易发出时中断，而 hub 尚未告知其全部未决交易：取消和过期须等待 hub 判定"),
			Next: tideover.Textf("nothing is wrong; if it stays, the hub is of an earlier version: have it updated", "无需处理；若持续出现，说明 hub 版本较旧：请升级 hub"),
		})
	}
	if w := r.queue.FileSystem().Warning(); w.En != "" {
		alarms = append(alarms, control.Finding{
			Code: "storage_unsafe", Note: true, What: w,
			Next: tideover.Textf("stop the daemon, copy %s as it is to a disk of this machine, set state_dir to it, and start again",
				"请停止守护进程，将 %s 原样复制到本机磁盘，在配置中设置 state_dir，然后重新启动", r.config.StateDir),
		})
	}
	if j := r.flawed.Load(); j != nil {
		alarms = append(alarms, control.Finding{
			Code: "journal",
			What: tideover.Textf("the journal did not verify: %[1]s", "日志校验不通过：%[2]s", j.Flaws[0].What.En, j.Flaws[0].What.Zh),
			Next: tideover.Textf("copy %s away as it is, and do not delete it; then: tideover journal verify", "请先原样复制保存 %s，切勿删除；然后执行：tideover journal verify", j.Path),
		})
	}
	if welcome.LostBefore != 0 {
		alarms = append(alarms, control.Finding{
			Code: "hub_restored", Note: !open, Next: manual,
			What: tideover.Textf("the hub was restored from an older copy: what may have been lost there is asked about before anything is executed again",
				"hub 是从较旧的备份恢复的：可能丢失的交易在重新执行前会先查询"),
		})
	}
	return alarms
}

// Terminals implements control.Backend.
func (r *Router) Terminals(context.Context) (control.TerminalList, error) {
	open := r.queue.PendingByTerminal()
	list := control.TerminalList{Terminals: []control.Terminal{}}
	for _, t := range r.queue.Terminals() {
		list.Terminals = append(list.Terminals, control.Terminal{Terminal: t, Open: open[t.UID]})
	}
	return list, nil
}

// Pair implements control.Backend.
func (r *Router) Pair(_ context.Context, q control.PairRequest, by control.Peer) (control.Pairing, error) {
	if _, inUse := r.tills.named(q.Name); q.Name != "" && inUse && !q.Replace {
		return control.Pairing{}, control.Refused("name_in_use",
			tideover.Textf("the name %q belongs to a till", "名称 %q 已被一台终端使用", q.Name),
			tideover.Textf("choose another, or hand it over: tideover terminal pair --replace %s", "请换一个，或移交：tideover terminal pair --replace %s", q.Name))
	} else if q.Replace && !inUse {
		return control.Pairing{}, r.unknownTerminal(q.Name)
	} else if err := rules.CardText(rules.Text{Field: "name", Value: q.Name}); err != nil && !inUse {
		return control.Pairing{}, err
	}
	code, expires, err := r.tills.book.Open(terminal.Grant{Name: q.Name, Replace: q.Replace})
	if err != nil {
		return control.Pairing{}, control.Refused("too_many_codes",
			tideover.Text{En: err.Error(), Zh: "有效的配对码过多"}, tideover.Textf("use one of them, or wait five minutes", "请使用已有的配对码，或等待五分钟"))
	}
	r.log.Info("pairing code made", "terminal", q.Name, "by", by.String())
	return control.Pairing{
		Code: code, Name: q.Name, ExpiresAt: tideover.MillisOf(expires), Endpoint: r.endpoint.Addr().String(),
	}, nil
}

// Revoke implements control.Backend.
func (r *Router) Revoke(ctx context.Context, name string, by control.Peer) error {
	if _, ok := r.tills.named(name); !ok {
		return r.unknownTerminal(name)
	}
	r.log.Info("revoking", "terminal", name, "by", by.String())
	return r.tills.revoke(ctx, name)
}

// unknownTerminal refuses a name that no till bears now. One that was revoked is still in the list, and is told apart.
func (r *Router) unknownTerminal(name string) error {
	if _, revoked := r.tills.byName(name); revoked {
		return control.Refused("terminal_revoked",
			tideover.Textf("the terminal %q is revoked already", "终端 %q 已作废", name),
			tideover.Textf("to let a box in under this name again: tideover terminal pair --name %s", "如需以此名称重新接入：tideover terminal pair --name %s", name))
	}
	return control.NotFound("unknown_terminal",
		tideover.Textf("no terminal is called %q", "没有名为 %q 的终端", name),
		tideover.Textf("see: tideover terminal list", "请查看：tideover terminal list"))
}
