"""``python -m docs_build`` writes every page whose computed part is outdated."""

from docs_build.pages import outdated
from memos_assets.settings import PROJECT_ROOT

if __name__ == "__main__":
    for page, text in outdated().items():
        page.write_text(text, "utf-8")
        print(page.relative_to(PROJECT_ROOT))  # noqa: T201
