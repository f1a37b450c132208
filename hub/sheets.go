package hub

import (
	"fmt"
	"strconv"
	"strings"

	"tideover"
	"tideover/internal/columns"
)

// when shows an instant to people, in the local time zone.
func (p *program) when(m tideover.Millis) string {
	if m == 0 {
		return "-"
	}
	return m.Time().Local().Format("2006-01-02 15:04:05 -07:00")
}

// table prints rows, for people.
func (p *program) table(rows [][]string) { _ = columns.Write(p.streams.Out, rows) }

// stateName is a store's state in the caller's language.
func (p *program) stateName(s StoreState) string {
	zh := map[StoreState]string{StoreAwaiting: "等待注册", StoreLapsed: "令牌已过期", StoreEnrolled: "已注册", StoreRevoked: "已作废"}[s]
	return p.t(string(s), zh)
}

func (p *program) storeTable(l StoreList) {
	if len(l.Stores) == 0 {
		fmt.Fprintln(p.streams.Err, p.t("there are no stores; add one with `tideover-hub store add NAME`", "尚无门店；请用 `tideover-hub store add 名称` 新增"))
		return
	}
	rows := [][]string{{p.t("STORE", "门店"), p.t("STATE", "状态"), p.t("CONNECTIONS", "连接"), p.t("TERMINALS", "终端"), p.t("OUTBOX", "待确认"), p.t("ENROLLED", "注册时间")}}
	for _, s := range l.Stores {
		rows = append(rows, []string{
			s.Store, p.stateName(s.State), strconv.Itoa(s.Connections), strconv.Itoa(len(s.Terminals)), strconv.Itoa(s.Outbox), p.when(s.EnrolledAt),
		})
	}
	p.table(rows)
}

func (p *program) storeSheet(s Store) {
	var terminals []string
	for _, t := range s.Terminals {
		name := t.Name
		if t.Revoked {
			name += p.t(" (revoked)", "（已作废）")
		}
		terminals = append(terminals, name)
	}
	rows := [][]string{
		{p.t("store", "门店"), s.Store},
		{p.t("state", "状态"), p.stateName(s.State)},
		{p.t("added", "新增时间"), p.when(s.CreatedAt)},
		{p.t("enrolled", "注册时间"), p.when(s.EnrolledAt)},
	}
	if s.TokenExpiresAt != 0 {
		rows = append(rows, []string{p.t("token until", "令牌有效至"), p.when(s.TokenExpiresAt)})
	}
	if s.Certificate != "" {
		rows = append(rows, []string{p.t("certificate", "证书"), s.Certificate}, []string{p.t("valid until", "证书有效至"), p.when(s.NotAfter)})
	}
	rows = append(rows,
		[]string{p.t("connections", "连接"), strconv.Itoa(s.Connections)},
		[]string{p.t("heard", "最近通信"), p.when(s.HeardAt)},
		[]string{p.t("ends given out", "已下发结果"), strconv.FormatUint(s.HubSeq, 10)},
		[]string{p.t("not acknowledged", "待确认"), strconv.Itoa(s.Outbox)},
		[]string{p.t("journal seen", "日志位置"), anchor(s)},
		[]string{p.t("terminals", "终端"), strings.Join(terminals, ", ")},
	)
	if s.LostAt != 0 {
		told := p.t("told again by the router", "路由器已补报")
		if s.Forgetful {
			told = p.t("not yet told by the router", "路由器尚未补报")
		}
		rows = append(rows, []string{p.t("lost by the hub", "hub 曾丢失记录"), p.when(s.LostAt) + ", " + told})
	}
	p.table(rows)
}

// anchor is the newest head of a store's journal, as `tideover journal verify --anchor` reads it.
func anchor(s Store) string {
	if s.AnchorSeq == 0 {
		return "-"
	}
	return strconv.FormatUint(s.AnchorSeq, 10) + ":" + s.AnchorHead
}

func (p *program) transactionSheet(l TransactionList) {
	for i, t := range l.Transactions {
		if i > 0 {
			fmt.Fprintln(p.streams.Out)
		}
		rows := [][]string{
			{p.t("transaction", "交易"), t.ID.String()},
			{p.t("store", "门店"), t.Store},
			{p.t("terminal", "终端"), t.Terminal},
			{p.t("kind", "类型"), t.Kind},
			{p.t("amount", "金额"), tideover.Money(t.Amount, t.Currency)},
			{p.t("ledger", "账本状态"), t.State},
		}
		if t.CancelAsked {
			rows = append(rows, []string{p.t("cancel asked", "已请求撤销"), p.t("yes", "是")})
		}
		if o := t.Outcome; o != nil {
			rows = append(rows, []string{p.t("outcome", "结果"), strings.TrimSpace(fmt.Sprintf("%s %s %s", o.Result, o.Code, o.Message))},
				[]string{p.t("reference", "平台单号"), o.Reference}, []string{p.t("recorded", "记录时间"), p.when(o.At)},
				[]string{p.t("position", "下发位置"), strconv.FormatUint(t.HubSeq, 10)},
				[]string{p.t("edge has it", "门店已收"), p.yes(t.Acknowledged)})
		}
		p.table(rows)
	}
}

func (p *program) yes(b bool) string {
	if b {
		return p.t("yes", "是")
	}
	return p.t("no", "否")
}

func (p *program) statusSheet(s Status) {
	fmt.Fprintln(p.streams.Out, s.Verdict.In(p.in()))
	fmt.Fprintln(p.streams.Out)
	rows := [][]string{
		{p.t("version", "版本"), fmt.Sprintf("%s (%s %d)", s.Version, p.t("process", "进程"), s.PID)},
		{p.t("started", "启动时间"), p.when(s.StartedAt)},
		{p.t("listens on", "监听"), s.Listen + " (UDP)"},
		{p.t("edges dial", "门店拨号"), strings.Join(s.Addresses, ", ")},
		{p.t("ledger", "账本"), s.Ledger},
		{p.t("CA", "CA 指纹"), s.CA},
		{p.t("CA until", "CA 有效至"), p.when(s.CANotAfter)},
		{p.t("platform", "支付平台"), strings.TrimSpace(s.Platform.Adapter+" "+s.Platform.URL) + " (" + s.Platform.Guarantee + ")"},
		{p.t("platform calls", "平台回调"), p.calledBack(s.Platform.Notify)},
		{p.t("stores", "门店"), fmt.Sprintf(p.t("%d, %d enrolled, %d connected", "共 %d，已注册 %d，在线 %d"), s.Stores, s.Enrolled, s.Connected)},
		{p.t("connections", "连接"), strconv.FormatInt(s.Connections, 10)},
		{p.t("in flight", "处理中"), strconv.FormatInt(s.InFlight, 10)},
		{p.t("transactions", "交易总数"), strconv.FormatInt(s.Transactions, 10)},
		{p.t("open", "未决"), strconv.FormatInt(s.Open, 10)},
		{p.t("manual", "待人工处理"), strconv.FormatInt(s.Manual, 10)},
		{p.t("outbox", "待确认"), strconv.FormatInt(s.Outbox, 10)},
	}
	p.table(append(rows, p.restoredRows(s.RestoredAt, s.Forgetful)...))
}

// namesMax bounds how many names stand in one line.
const namesMax = 10

// some lists names, and says how many more there are.
func some(names []string) string {
	if more := len(names) - namesMax; more > 0 {
		return strings.Join(names[:namesMax], ", ") + " +" + strconv.Itoa(more)
	}
	return strings.Join(names, ", ")
}

// calledBack tells where the platform gives its hints.
func (p *program) calledBack(notify string) string {
	if notify == "" {
		return p.t("no: the hub asks", "未启用：由 hub 主动查询")
	}
	return "http://" + notify + "/outcomes"
}
