"""Write codemeta.json, .zenodo.json and codecheck.yml.

They follow from CITATION.cff and the stored results.

python .ci/metadata.py (needs cffconvert)
"""

import json
from pathlib import Path

import yaml

DERIVED = ("codemeta.json", ".zenodo.json", "codecheck.yml")
CODECHECK = "https://codecheck.org.uk/spec/config/1.0/"


def citation(root):
    """Return the content of CITATION.cff."""
    return yaml.safe_load((root / "CITATION.cff").read_text("utf-8"))


def derived(root):
    """Yield the name and the text of each file."""
    from cffconvert import Citation

    source = Citation((root / "CITATION.cff").read_text("utf-8"))
    paper = citation(root)["preferred-citation"]
    # cffconvert leaves out the reference to the paper.
    article = {
        "@type": "ScholarlyArticle",
        "@id": f"https://doi.org/{paper['doi']}",
        "name": paper["title"],
    }
    related = [
        {"identifier": paper["doi"], "relation": "isSupplementTo", "scheme": "doi"}
    ]
    makers = [
        {"@type": "Organization", "name": author["name"]}
        for author in citation(root)["authors"]
    ]
    codemeta = json.loads(source.as_codemeta()) | {
        "author": makers,
        "referencePublication": article,
    }
    zenodo = json.loads(source.as_zenodo()) | {
        "upload_type": "software",
        "related_identifiers": related,
    }
    for name, content in zip(DERIVED, (codemeta, zenodo)):
        yield name, json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    yield (
        DERIVED[2],
        yaml.safe_dump(
            codecheck(root, paper), allow_unicode=True, sort_keys=False, width=120
        ),
    )


def codecheck(root, paper):
    """Return the content of codecheck.yml.

    It lists the files that a codechecker reproduces and compares. `paper` is the
    preferred citation of CITATION.cff. The codechecker adds names, dates and the
    certificate.
    """
    manifest = [
        {
            "file": "figures/claims.json",
            "comment": "The claims of the paper, and the numbers that decide them",
        }
    ]
    for path in sorted((root / "figures" / "numbers").glob("*.json")):
        notebook = json.loads(
            (root / "notebooks" / f"{path.stem}.ipynb").read_text("utf-8")
        )
        title = "".join(notebook["cells"][0]["source"]).splitlines()[0].lstrip("# ")
        manifest.append(
            {
                "file": f"figures/numbers/{path.name}",
                "comment": f"The numbers of {title}",
            }
        )
        for figure in json.loads(path.read_text("utf-8"))["figures"]:
            manifest.append(
                {"file": f"figures/{figure}.png", "comment": f"A figure of {title}"}
            )
    authors = [
        {"name": f"{author['given-names']} {author['family-names']}"}
        for author in paper["authors"]
    ]
    about = {
        "title": paper["title"],
        "authors": authors,
        "reference": f"https://doi.org/{paper['doi']}",
    }
    return {"version": CODECHECK, "paper": about, "manifest": manifest}


def disagreement(root):
    """Return in one line how a derived file disagrees with CITATION.cff, or None."""
    source = citation(root)
    codemeta, zenodo = (
        json.loads((root / name).read_text("utf-8")) for name in DERIVED[:2]
    )
    checked = yaml.safe_load((root / DERIVED[2]).read_text("utf-8"))
    paper = source["preferred-citation"]
    address = f"https://doi.org/{paper['doi']}"
    authors = [author["name"] for author in source["authors"]]
    values = {
        "title": (source["title"], codemeta["name"], zenodo["title"]),
        "abstract": (
            source["abstract"],
            codemeta["description"],
            zenodo["description"],
        ),
        "version": (source["version"], codemeta["version"], zenodo["version"]),
        "license": (
            source["license"],
            codemeta["license"].rpartition("/")[2],
            zenodo["license"]["id"],
        ),
        "keywords": (source["keywords"], codemeta["keywords"], zenodo["keywords"]),
        "authors": (
            authors,
            [a["name"] for a in codemeta["author"]],
            [a["name"] for a in zenodo["creators"]],
        ),
        "date-released": (
            source.get("date-released"),
            codemeta.get("datePublished"),
            zenodo.get("publication_date"),
        ),
        "the paper's DOI": (
            address,
            codemeta["referencePublication"]["@id"],
            "https://doi.org/" + zenodo["related_identifiers"][0]["identifier"],
            checked["paper"]["reference"],
        ),
        "the paper's title": (
            paper["title"],
            codemeta["referencePublication"]["name"],
            checked["paper"]["title"],
        ),
    }
    for field, (expected, *others) in values.items():
        for other in others:
            if other != expected:
                return (
                    f"{field}: CITATION.cff has {expected!r}, a derived file has "
                    f"{other!r}; run make metadata"
                )
    if checked != codecheck(root, paper):
        return (
            "codecheck.yml: must list the stored figures and numbers; run make metadata"
        )
    return None


if __name__ == "__main__":
    for name, text in derived(Path()):
        Path(name).write_text(text, "utf-8")
        print(name)
