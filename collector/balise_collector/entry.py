"""Is the server's part installed? Both programs come with the one distribution, `balise` runs only with its extra."""

import sys


def main() -> int:
    """Hand over to the command line, or say in one line which extra is missing."""
    try:
        from balise_collector import cli
    except ModuleNotFoundError as exc:
        if _is_ours(exc.name):
            raise
        sys.stderr.write(f"balise: {exc.name} is missing; the server needs: pip install 'balise[collector]'\n")
        return 2
    return cli.main()


def _is_ours(module: str | None) -> bool:
    return module is None or module.partition(".")[0] in {"balise_agent", "balise_collector"}


if __name__ == "__main__":
    sys.exit(main())
