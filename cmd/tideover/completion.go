package main

import (
	"fmt"
	"io"

	"tideover/internal/command"
)

// completeCommand is the word by which a shell asks what may stand where somebody is typing: it is followed by "--" and all words so far.
const completeCommand = "__complete"

// completions are what a shell has to be told, by its name. Each asks the program that was typed, and takes files where it knows nothing.
var completions = map[string]string{
	"bash": `_tideover() {
	local word about
	COMPREPLY=()
	while IFS=$'\t' read -r word about; do
		COMPREPLY+=("$word")
	done < <("${COMP_WORDS[0]}" ` + completeCommand + ` -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _tideover tideover
`,
	"zsh": `#compdef tideover
_tideover() {
	local word about
	local -a all
	while IFS=$'\t' read -r word about; do
		all+=("$word:$about")
	done < <("${words[1]}" ` + completeCommand + ` -- "${(@)words[2,CURRENT]}" 2>/dev/null)
	if (( ${#all} )); then
		_describe tideover all
	else
		_files
	fi
}
if [ "$funcstack[1]" = "_tideover" ]; then
	_tideover
else
	compdef _tideover tideover
fi
`,
	"fish": `function __tideover_complete
	set -l typed (commandline -opc) (commandline -ct)
	set -l all ($typed[1] ` + completeCommand + ` -- $typed[2..-1] 2>/dev/null)
	if count $all >/dev/null
		printf '%s\n' $all
	else
		__fish_complete_path (commandline -ct)
	end
end
complete -c tideover -f -a '(__tideover_complete)'
`,
}

func (p *program) completionCommand() *command.Command {
	return &command.Command{
		Use: "completion SHELL", Short: p.t("what makes a shell complete these commands: bash, zsh or fish", "输出 shell 自动补全脚本：bash、zsh 或 fish"), Args: p.oneArg("SHELL"),
		Example: "  source <(tideover completion bash)\n  tideover completion fish > ~/.config/fish/completions/tideover.fish",
		RunE: func(_ *command.Command, args []string) error {
			script, known := completions[args[0]]
			if !known {
				return p.misuse("tideover completion", "%q is not a shell that is known here: bash, zsh and fish are", "不支持 %q：仅支持 bash、zsh 和 fish", args[0])
			}
			_, err := io.WriteString(p.out, script)
			return err
		},
	}
}

func (p *program) completeCommand() *command.Command {
	return &command.Command{
		Use: completeCommand, Short: p.t("what a word may become", "补全当前单词"), Hidden: true,
		RunE: func(cmd *command.Command, args []string) error {
			for _, c := range cmd.Root().Complete(args) {
				if _, err := fmt.Fprintf(p.out, "%s\t%s\n", c.Word, c.About); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
