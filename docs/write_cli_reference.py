"""Write docs/cli.md from the commands' own --help."""

from pathlib import Path

from click.testing import CliRunner

from curator_pipelines.cli.main import COMMANDS, cli

REFERENCE = Path(__file__).with_name("cli.md")


def render() -> str:
    """The reference as markdown."""
    runner = CliRunner()
    pages = ["# Command line reference\n\nGenerated from `--help`; `make format` writes it anew.\n"]
    for name in ("", *COMMANDS):
        arguments = [name, "--help"] if name else ["--help"]
        title = f"curator {name}".strip()
        result = runner.invoke(cli, arguments, prog_name="curator", terminal_width=100)
        pages.append(f"## {title}\n\n```text\n{result.output}```\n")
    return "\n".join(pages)


if __name__ == "__main__":
    REFERENCE.write_text(render())
