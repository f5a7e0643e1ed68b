"""The paper's claims, where each is shown, and whether the stored numbers bear it out."""

from dataclasses import dataclass
from pathlib import Path

from paperlib._support import checks
from paperlib.companion.reproduction.records import read_record

__all__ = ["CLAIMS", "Claim", "claim_table"]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, the recorded numbers, each with a bound, that decide it, and in three words by what protocol."""

    id: str
    text: str
    notebook: str
    numbers: tuple[str, ...]
    protocol: str


CLAIMS = (
    Claim("C1",
          "Multilayer perceptrons predict S-wave scattering lengths of discretised, attractive, finite-range potentials.",
          "03_training_mlps", ("mape_percent",), "attractive, values, SOAP"),
    Claim("C2", "Any-order derivatives of an MLP are sums of diagrams made of propagators and vertices.",
          "05_feynman_diagrams", ("diagram_sum_error",), "identity, every diagram"),
    Claim("C3", "The n-th order Born approximation corresponds to the n-th order Taylor approximation of the MLP.",
          "06_taylor_versus_born", tuple(f"taylor_born_{n}_relative_error" for n in (1, 2, 3)),
          "signed, derivatives, SOAP"),
    Claim("C4", "For shallow potentials the low orders are a local interpretation of the MLP and reproduce a_0.",
          "06_taylor_versus_born", ("shallow_taylor_error_percent",), "signed, derivatives, SOAP"),
    Claim("C5", "A plainly trained MLP adapts its derivatives mainly to the leading order of the target.",
          "06_taylor_versus_born", ("plain_second_over_first_error",), "attractive, values, SOAP"),
    Claim("C6", "Removing the leading order and training on the rest gets the 1st and 2nd Born terms right.",
          "07_iterative_perturbation_theory", tuple(f"values_attractive_born_{n}_relative_error" for n in (1, 2)),
          "attractive, values, SOAP"),
    Claim("C7", "Both results combined are a machine-learned second-order Born approximation.",
          "08_machine_learned_born", ("values_attractive_second_order_mape_percent",), "attractive, values, SOAP"),
)  # fmt: skip


def claim_table(folder: str | Path) -> list[tuple[Claim, str]]:
    """Each claim with the verdict that the records in FOLDER/numbers, as `record` writes them, give it.

    A verdict is "holds" with its numbers, "does not hold" with them, or "not yet shown".
    """
    folder, rows = checks.path("folder", folder), []
    for claim in CLAIMS:
        path = folder / "numbers" / f"{claim.notebook}.json"
        recorded = read_record(path).numbers if path.exists() else {}
        numbers = {name: recorded[name] for name in claim.numbers if name in recorded}
        held = [number.holds for number in numbers.values()]
        verdict = "not yet shown"
        if len(held) == len(claim.numbers) and None not in held:
            values = ", ".join(f"{name} = {number.value:.3g}" for name, number in numbers.items())
            verdict = f"{'holds' if all(held) else 'does not hold'}: {values}"
        rows.append((claim, verdict))
    return rows
