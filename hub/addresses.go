package hub

import (
	"net"
	"strconv"
)

// addresses returns what a token tells edges. bound is the running hub's UDP address, nil where none runs. Where advertise is empty
// and listen names every address of the machine, the running hub names those that it has: the ones that other machines can dial, or
// loopback alone where there is none.
func (c Config) addresses(bound *net.UDPAddr) ([]string, error) {
	if len(c.Advertise) > 0 {
		return c.Advertise, nil
	}
	host, port, err := net.SplitHostPort(c.Listen)
	if err != nil {
		return nil, err
	}
	if bound != nil {
		port = strconv.Itoa(bound.Port)
	}
	if bound == nil && (port == "0" || wildcard(c.Listen)) {
		return nil, &Error{
			What: text("no hub is running, and listen = %q does not say which address edges shall dial", "hub 未运行，而 listen = %q 未指明门店应拨号的地址", c.Listen),
			Hint: text(`set advertise in the configuration, e.g. advertise = ["hub.example.com:8443"], or start the hub first`,
				`请在配置中设置 advertise，例如 advertise = ["hub.example.com:8443"]，或先启动 hub`),
		}
	}
	if !wildcard(c.Listen) {
		return []string{net.JoinHostPort(host, port)}, nil
	}
	return machineAddresses(port, bound.IP.To4() != nil)
}

// machineAddresses lists this machine's own unicast addresses, at most advertiseMax.
func machineAddresses(port string, only4 bool) ([]string, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	var found []string
	for _, a := range all {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() || (only4 && n.IP.To4() == nil) || len(found) == advertiseMax {
			continue
		}
		found = append(found, net.JoinHostPort(n.IP.String(), port))
	}
	if len(found) == 0 {
		found = []string{net.JoinHostPort("127.0.0.1", port)}
	}
	return found, nil
}
