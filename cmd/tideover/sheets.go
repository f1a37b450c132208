package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"tideover"
	"tideover/internal/columns"
)

// sheet prints rows with their columns aligned.
func (p *program) sheet(rows [][]string) {
	if err := columns.Write(p.out, rows); err != nil && p.wrote == nil {
		p.wrote = err
	}
}

// line prints one line of a result.
func (p *program) line(text string) { p.sheet([][]string{{text}}) }

// facts are the rows of a sheet about one thing.
type facts struct {
	*program
	rows [][]string
}

// add adds a row; what is empty is left out. Two dozen copies of it, in line, made 9 kB on mipsle.
//
//go:noinline
func (f *facts) add(en, zh, value string) {
	if value != "" {
		f.rows = append(f.rows, []string{f.t(en, zh), value})
	}
}

// when shows an instant to people, in the local time zone.
func when(m tideover.Millis) string {
	if m == 0 {
		return "-"
	}
	return m.Time().Local().Format("2006-01-02 15:04:05")
}

// ago is the time from then to now as people say it: 45s, 3m12s, 2h05m, 3d04h. What lies ahead is 0s: a clock was set.
func ago(then, now tideover.Millis) string {
	seconds := max(0, int64(now-then)/1000)
	minutes, hours := seconds/60, seconds/3600
	switch {
	case minutes == 0:
		return fmt.Sprintf("%ds", seconds)
	case hours == 0:
		return fmt.Sprintf("%dm%02ds", minutes, seconds%60)
	case hours < 24:
		return fmt.Sprintf("%dh%02dm", hours, minutes%60)
	default:
		return fmt.Sprintf("%dd%02dh", hours/24, hours%24)
	}
}

// size shows bytes in a unit that people read.
func size(bytes int64) string {
	for _, u := range []struct {
		name  string
		bytes int64
	}{{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if bytes >= u.bytes {
			return strconv.FormatFloat(float64(bytes)/float64(u.bytes), 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(bytes, 10) + " B"
}

// stateNames are the states in Chinese; English shows those of the API.
var stateNames = map[tideover.State]string{
	tideover.StateQueued: "已存待发", tideover.StateHeld: "已暂停", tideover.StateSent: "已发送", tideover.StatePending: "处理中",
	tideover.StateInDoubt: "结果待查", tideover.StateReversing: "撤销中", tideover.StateApproved: "已成功", tideover.StateDeclined: "已拒绝",
	tideover.StateExpired: "已过期", tideover.StateCancelled: "已取消", tideover.StateReversed: "已撤销", tideover.StateManual: "待人工处理",
}

// state shows a state in the caller's language.
func (p *program) state(s tideover.State) string { return p.t(s.String(), stateNames[s]) }

// eventNames are the steps of a transaction in Chinese; English shows those of the journal.
var eventNames = map[string]string{
	"accepted": "受理", "sent": "发送", "reopened": "重启后待查", "doubt": "结果待查", "held": "暂停", "released": "恢复", "expired": "过期",
	"cancelled": "取消", "cancel asked": "请求取消", "told pending": "平台处理中", "told reversing": "hub 撤销中", "told manual": "转人工",
	"told approved": "平台成功", "told declined": "平台拒绝", "told expired": "hub 判定过期", "told cancelled": "hub 判定取消",
	"told reversed": "hub 已撤销", "nothing to undo": "无需撤销", "settle asked": "人工结清", "retry asked": "人工重查", "dropped": "人工放弃", "barred": "预先取消",
	"adopted": "采用 hub 记录", "told to the hub": "告知 hub", "delivered": "送达终端", "acknowledged": "终端确认",
}

// event shows a step in the caller's language; one that is not known here keeps its name.
func (p *program) event(name string) string {
	if zh, ok := eventNames[name]; ok {
		return p.t(name, zh)
	}
	return name
}

// kind shows a kind in the caller's language.
func (p *program) kind(k tideover.Kind) string {
	zh := map[tideover.Kind]string{
		tideover.KindSale: "收款", tideover.KindRefund: "退款", tideover.KindReversal: "撤销", tideover.KindAdvice: "通知",
	}[k]
	return p.t(k.String(), zh)
}

func (p *program) yes(b bool) string {
	if b {
		return p.t("yes", "是")
	}
	return p.t("no", "否")
}

// orDash stands in for what is empty.
func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// stateList names every state, for help texts.
func (p *program) stateList() string {
	var all []string
	for _, s := range tideover.States() {
		all = append(all, p.t(s.String(), s.String()+" "+stateNames[s]))
	}
	return strings.Join(all, p.t(", ", "、"))
}

// sortedKeys returns a map's keys in order.
func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
