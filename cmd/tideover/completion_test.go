package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// asked has each shell complete what is typed, as it does when a key is pressed, and prints what it offers. zsh shows its offers itself, which
// here prints the words alone.
var asked = map[string]string{
	"bash": `source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tideover; printf '%s\n' "${COMPREPLY[@]}"`,
	"zsh": `compdef() {}; _describe() { print -l -- ${${(P)2}%%:*}; }; _files() {}
		source "$1"; shift; words=("$@"); CURRENT=$#; _tideover`,
	"fish": `source $argv[1]; complete -C "$argv[2..-1]" | string split -f1 \t; or true`,
}

// Each shell that is known takes its script, asks the real program, and offers what that knows.
func TestCompletion_InItsShell(t *testing.T) {
	dir := t.TempDir()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(program, filepath.Join(dir, "tideover")); err != nil { // testscript's: it is the command that it is called by
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("LC_ALL", "C")
	t.Setenv("HOME", dir)
	for shell, ask := range asked {
		t.Run(shell, func(t *testing.T) {
			if _, err := exec.LookPath(shell); err != nil {
				if os.Getenv("TIDEOVER_CI") != "" {
					t.Fatalf("%s is not here: .ci/packages installs it", shell)
				}
				t.Skipf("needs %s", shell)
			}
			script, err := exec.Command("tideover", "completion", shell).Output()
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "script")
			if err := os.WriteFile(file, script, 0o600); err != nil {
				t.Fatal(err)
			}
			empty := t.TempDir() // no file is offered
			for typed, want := range map[string]string{
				"tideover queue se":                "settle",
				"tideover queue settle X --as ":    "approved declined reversed",
				"tideover queue list --state can":  "cancelled",
				"tideover --lang ":                 "en zh",
				"tideover journal verify --anch":   "--anchor",
				"tideover queue list --terminal t": "", // free text, or a file
			} {
				args := []string{"-c", ask, shell, file}
				if shell == "fish" {
					args = []string{"-c", ask, file, typed}
				} else {
					args = append(args, strings.Split(typed, " ")...)
				}
				cmd := exec.Command(shell, args...)
				cmd.Dir = empty
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Errorf("%q: %v\n%s", typed, err, out)
				}
				if have := strings.Join(strings.Fields(string(out)), " "); have != want {
					t.Errorf("%q: %q, want %q", typed, have, want)
				}
			}
		})
	}
}
