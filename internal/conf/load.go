package conf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"tideover"
)

// fileMax bounds a configuration file, in bytes.
const fileMax = 1 << 20

// Source says where values come from.
type Source struct {
	// Path is the file; "" reads none. A file that is missing is an error that is [fs.ErrNotExist], unless Optional is set.
	Path     string
	Optional bool
	Prefix   string            // of the environment's variables, without its last underscore: TIDEOVER, TIDEOVER_HUB
	Environ  []string          // as os.Environ gives it
	Flags    map[string]string // key to value, where a flag stands for a key; the flag is named after the key
}

// File is a configuration that was read: it knows where each value came from. It is not safe for use from several goroutines.
type File struct {
	path    string
	present bool
	origins map[string]origin // by dotted key; what is absent is a default
	strange []string
	errs    Errors
}

// origin is where a value stands.
type origin struct {
	name string // file, variable or flag
	line int
}

// Load reads src into the struct that into points at, over the defaults that it holds. The file is returned with an error too, as
// far as it was read. Errors are [Errors].
func Load(src Source, into any) (*File, error) {
	f := &File{path: src.Path, origins: map[string]origin{}}
	root := reflect.ValueOf(into).Elem()
	if src.Path != "" {
		f.readFile(src, root)
	}
	f.readEnviron(src, root)
	for key, value := range src.Flags {
		f.setText(root, key, value, origin{name: "--" + strings.ReplaceAll(key, "_", "-")})
	}
	return f, f.Err()
}

// readFile takes the file's values.
func (f *File) readFile(src Source, root reflect.Value) {
	data, err := readBounded(src.Path)
	if errors.Is(err, fs.ErrNotExist) && src.Optional {
		return
	}
	if err != nil {
		f.errs = append(f.errs, unreadable(src.Path, err))
		return
	}
	f.present = true
	if !utf8.Valid(data) {
		f.errs = append(f.errs, &Error{
			File: src.Path, What: tideover.Textf("is not UTF-8 text", "不是 UTF-8 文本"),
			Hint: tideover.Textf("save the file as UTF-8", "请将文件另存为 UTF-8 编码"),
		})
		return
	}
	tree, err := parse(data)
	if err != nil {
		f.errs = append(f.errs, syntaxError(src.Path, err))
		return
	}
	for key, line := range lines(data) {
		f.origins[key] = origin{src.Path, line}
	}
	f.setTable(root, "", tree)
}

// readBounded reads a file of at most fileMax bytes.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, fileMax+1))
	if err == nil && len(data) > fileMax {
		err = errTooLarge
	}
	return data, err
}

var errTooLarge = fmt.Errorf("larger than %d bytes", fileMax)

// unreadable says why a file could not be read, in plain words.
func unreadable(path string, err error) *Error {
	e := &Error{File: path, Err: err}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		e.What = tideover.Textf("there is no such file", "文件不存在")
		e.Hint = tideover.Textf("write it, or name another one with --config FILE", "请创建该文件，或用 --config FILE 指定其他文件")
	case errors.Is(err, fs.ErrPermission):
		e.What = tideover.Textf("may not be read by this user", "当前用户无权读取")
		e.Hint = tideover.Textf("run the command as root or as the user that the service runs as", "请以 root 或服务所用的用户运行此命令")
	case errors.Is(err, errTooLarge):
		e.What = tideover.Textf("is larger than %d bytes: not a configuration", "超过 %d 字节，不是配置文件", fileMax)
		e.Hint = tideover.Textf("name the right file with --config FILE", "请用 --config FILE 指定正确的文件")
	default:
		e.What = tideover.Textf("cannot be read: %v", "无法读取：%v", err)
		e.Hint = tideover.Textf("name a readable file with --config FILE", "请用 --config FILE 指定可读的文件")
	}
	return e
}

// syntaxError says where a file stops being TOML, or gives a key twice.
func syntaxError(path string, err error) *Error {
	e := &Error{
		File: path, Err: err,
		Hint: tideover.Textf("correct that line; strings stand in double quotes", "请修改该行；字符串须用双引号括起来"),
	}
	if s, ok := errors.AsType[*syntax](err); ok {
		e.Line, e.Key = s.line, s.key
	}
	e.What = tideover.Textf("is not TOML here: %v", "此处不符合 TOML 语法：%v", err)
	return e
}

// readEnviron takes the values of variables, and remembers those that carry the prefix and belong to no key.
func (f *File) readEnviron(src Source, root reflect.Value) {
	if src.Prefix == "" {
		return
	}
	byName := map[string]string{}
	for _, key := range leaves(root.Type(), "") {
		byName[Variable(src.Prefix, key)] = key
	}
	for _, pair := range src.Environ {
		name, value, _ := strings.Cut(pair, "=")
		key, known := byName[name]
		switch {
		case known && value != "":
			f.setText(root, key, value, origin{name: name})
		case !known && strings.HasPrefix(name, src.Prefix+"_"):
			f.strange = append(f.strange, name)
		}
	}
	slices.Sort(f.strange)
}

// Variable returns the name of a key's environment variable.
func Variable(prefix, key string) string {
	return prefix + "_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))
}

// Present says whether there was a file.
func (f *File) Present() bool { return f.present }

// Path is the file's name, whether it is there or not.
func (f *File) Path() string { return f.path }

// StrangeVariables are variables of the environment that carry the prefix and belong to no key, perhaps misspelled.
func (f *File) StrangeVariables() []string { return f.strange }

// Given says whether a key was given at all, rather than left at its default.
func (f *File) Given(key string) bool {
	_, ok := f.origins[key]
	return ok
}

// Reject adds a complaint about a key's value; see [File.Where] for the place that it names.
func (f *File) Reject(key string, what, hint tideover.Text) {
	file, line := f.Where(key)
	f.errs = append(f.errs, &Error{File: file, Line: line, Key: key, What: what, Hint: hint})
}

// Where returns the place of a key: the file and the line, or the variable or flag that gave it. A key that was not given is at its
// table's place, or else in the file at no line.
func (f *File) Where(key string) (name string, line int) {
	for ; key != ""; key = parentOf(key) {
		if o, ok := f.origins[key]; ok {
			return o.name, o.line
		}
	}
	return f.path, 0
}

// parentOf returns the table that a key stands in.
func parentOf(key string) string {
	i := strings.LastIndexAny(key, ".[")
	if i < 0 {
		return ""
	}
	return key[:i]
}

// Err returns every complaint so far as [Errors], in the order of their lines, or nil.
func (f *File) Err() error {
	if len(f.errs) == 0 {
		return nil
	}
	slices.SortStableFunc(f.errs, func(a, b *Error) int { return a.Line - b.Line })
	return slices.Clone(f.errs)
}
