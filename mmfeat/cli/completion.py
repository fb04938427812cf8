"""The command `mmfeat completion`: a script that completes commands and flags in a shell."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import tyro

from mmfeat.cli.commands import COMMANDS, COMPLETION, QUICKSTART, load_config
from mmfeat.config import flag_names, metavar, parse_args
from mmfeat.system import print_out

_BASH = """\
_mmfeat() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} choices=
  if [ "$COMP_CWORD" -eq 1 ]; then
    choices={commands}
  elif [ "${{word#-}}" != "$word" ]; then
    case ${{COMP_WORDS[1]}} in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$choices" -- "$word"))
}}
complete -o default -F _mmfeat mmfeat
"""

_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"


_LOAD = (
    ("bash", 'eval "$(mmfeat completion bash)" in ~/.bashrc'),
    ("zsh ", 'eval "$(mmfeat completion zsh)" in ~/.zshrc'),
    ("fish", "mmfeat completion fish > ~/.config/fish/completions/mmfeat.fish"),
)
"""Shell and how to load its script."""


@dataclass(frozen=True)
class CompletionConfig:
    """Print a script that completes commands, flags and files. Load it when the shell starts.

    bash: eval "$(mmfeat completion bash)" in ~/.bashrc. zsh: the same with zsh in ~/.zshrc. fish:
    mmfeat completion fish > ~/.config/fish/completions/mmfeat.fish
    """

    shell: Annotated[Literal["bash", "zsh", "fish"], tyro.conf.Positional, metavar("SHELL")]
    """bash, zsh or fish."""


def main(arguments: Sequence[str]) -> None:
    """Print the script; without a shell, the shells and how to load it in each."""
    if not arguments:
        print_out("\n".join(["Name the shell:", *(f"  {shell}  {how}" for shell, how in _LOAD)]))
        raise SystemExit(2)
    config = parse_args(CompletionConfig, arguments, prog="mmfeat completion")
    configs = {name: load_config(name) for name in COMMANDS} | {"completion": CompletionConfig}
    flags = {name: ["--help", *flag_names(fields)] for name, fields in configs.items()}
    print(completion_script(config.shell, {"quickstart": ["--help"], **flags}), end="")


def completion_script(shell: str, flags: Mapping[str, Sequence[str]]) -> str:
    """Return the script of a shell.

    Args:
        shell: `bash`, `zsh` or `fish`.
        flags: command → its flags.
    """
    if shell == "fish":
        lines = ["complete -c mmfeat -n __fish_use_subcommand -f"]
        summaries = {**COMMANDS, "quickstart": QUICKSTART, "completion": COMPLETION}
        for name, words in flags.items():
            summary = shlex.quote(summaries[name])
            lines.append(f"complete -c mmfeat -n __fish_use_subcommand -a {name} -d {summary}")
            seen = f"'__fish_seen_subcommand_from {name}'"
            lines += [f"complete -c mmfeat -n {seen} -l {word.lstrip('-')}" for word in words]
        return "\n".join(lines) + "\n"
    cases = "\n".join(
        f"    {name}) choices={shlex.quote(' '.join(words))} ;;" for name, words in flags.items()
    )
    script = _BASH.format(commands=shlex.quote(" ".join(flags)), cases=cases)
    return _ZSH + script if shell == "zsh" else script
