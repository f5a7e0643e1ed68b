r"""SOAP: Adam in the slowly turning eigenbasis of Shampoo's preconditioner (Vyas et al., arXiv:2409.11321).

For a weight matrix with gradient G, two second moments are averaged and their eigenvectors kept,

.. math:: L \leftarrow \beta_2 L + (1 - \beta_2)\, G G^T, \quad R \leftarrow \beta_2 R + (1 - \beta_2)\, G^T G, \qquad
          L = Q_L \Lambda_L Q_L^T, \quad R = Q_R \Lambda_R Q_R^T,

and Adam runs on the rotated gradient :math:`Q_L^T G Q_R`, whose entries are nearly uncorrelated. The eigenvectors follow
by one step of the power iteration, orthonormalised by QR, every few steps. Not to be confused with Shampoo, which takes
roots of L and R, or with Muon, which orthonormalises the momentum and keeps no second moment.
"""

from typing import Any

from paperlib._support import checks, tensorflow

keras: Any  # a variable to the type checker, and a module's classes to derive from
_, keras = tensorflow.load()
ops = keras.ops

__all__ = ["SOAP", "keras"]


@keras.saving.register_keras_serializable("paperlib")
class SOAP(keras.optimizers.Optimizer):
    """Adam in the eigenbasis of Shampoo's preconditioner.

    The last two axes of a variable are taken for its matrix and the axes before them for a batch, so that an ensemble's
    stacked weights are preconditioned member by member. Vectors, and matrices of one row, get plain Adam. The first
    step sets the eigenvectors and moves no weight: a gradient must not be rotated into its own eigenbasis.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
    beta_1, beta_2 : float
        Decay of the momentum, and of all second moments.
    epsilon : float
    frequency : int
        Steps between two refreshes of the eigenvectors.
    **options
        Those of `keras.optimizers.Optimizer`.

    Examples
    --------
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    >>> model.compile(SOAP(1e-2), "mse")
    >>> _ = model.fit(ops.ones((4, 3)), ops.ones((4, 1)), verbose=0)
    """

    def __init__(
        self,
        learning_rate: Any = 3e-3,
        beta_1: float = 0.95,
        beta_2: float = 0.95,
        epsilon: float = 1e-8,
        frequency: int = 10,
        name: str = "soap",
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **options)
        for label, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= checks.number(label, beta) < 1:
                raise ValueError(f"{label} = {beta}: must be from 0 up to, but not, 1")
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, checks.number("epsilon", epsilon, minimum=0)
        self.frequency = checks.integer("frequency", frequency, minimum=1)

    def build(self, variables: list) -> None:
        """Make the moments and the eigenvectors of every variable."""
        if self.built:
            return
        super().build(variables)
        self._moments, self._bases = [], []
        for variable in variables:
            self._moments.append([self.add_variable_from_reference(variable, name=f"moment_{n}") for n in (1, 2)])
            *batch, rows, columns = variable.shape if len(variable.shape) > 1 else (1, 1)
            bases = []
            if rows > 1:
                for side, size in (("left", rows), ("right", columns)):
                    shape = (*batch, size, size)
                    names = (f"{side}_moment", f"{side}_basis")
                    bases.append([self.add_variable(shape=shape, dtype=variable.dtype, name=name) for name in names])
            self._bases.append(bases)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        # As Keras' own optimizers find what belongs to a variable: what comes in here is TensorFlow's, not the one of `build`.
        place = self._get_variable_index(variable)
        (momentum, second), bases = self._moments[place], self._bases[place]
        rate = ops.cast(learning_rate, variable.dtype)
        # Counted from the first step that moves weights.
        step = ops.cast(self.iterations, variable.dtype)
        moves = ops.cast(self.iterations > 0, variable.dtype)

        rotated = _rotate(gradient, bases) if bases else gradient
        self.assign(momentum, momentum + moves * (1 - self.beta_1) * (rotated - momentum))
        self.assign(second, second + moves * (1 - self.beta_2) * (ops.square(rotated) - second))
        bias = 1 - moves * ops.power(self.beta_1, step), 1 - moves * ops.power(self.beta_2, step)
        direction = momentum / (ops.sqrt(second) + self.epsilon) * (ops.sqrt(bias[1]) / bias[0])
        self.assign_sub(variable, moves * rate * (_rotate_back(direction, bases) if bases else direction))
        if bases:
            self._turn(gradient, momentum, second, bases)

    def _turn(self, gradient: Any, momentum: Any, second: Any, bases: list) -> None:
        """Average the preconditioner, and now and then refresh its eigenvectors."""
        transposed = ops.swapaxes(gradient, -1, -2)
        for (moment, _), square in zip(bases, (gradient @ transposed, transposed @ gradient), strict=True):
            self.assign(moment, moment + (1 - self.beta_2) * (square - moment))
        (left, left_basis), (right, right_basis) = bases
        old = (momentum.value, second.value, left_basis.value, right_basis.value)

        def first() -> tuple:
            # eigh sorts upwards; the power iteration settles the largest first.
            new = [ops.flip(ops.linalg.eigh(moment)[1], axis=-1) for moment in (left, right)]
            return (*old[:2], *new)

        def refresh() -> tuple:
            by_left = _falling(left, left_basis)
            by_right = _falling(right, right_basis)
            sorted_second = ops.take_along_axis(second, by_left[..., :, None], axis=-2)
            sorted_second = ops.take_along_axis(sorted_second, by_right[..., None, :], axis=-1)
            new = [
                ops.qr(moment @ ops.take_along_axis(basis, order[..., None, :], axis=-1))[0]
                for moment, basis, order in ((left, left_basis, by_left), (right, right_basis, by_right))
            ]
            plain = left_basis @ momentum @ ops.swapaxes(right_basis, -1, -2)
            return (ops.swapaxes(new[0], -1, -2) @ plain @ new[1], sorted_second, *new)

        def later() -> tuple:
            return ops.cond(ops.equal(self.iterations % self.frequency, 0), refresh, lambda: old)

        new = ops.cond(ops.equal(self.iterations, 0), first, later)
        for variable, value in zip((momentum, second, left_basis, right_basis), new, strict=True):
            self.assign(variable, value)

    def get_config(self) -> dict[str, Any]:
        """The arguments that make this optimizer again."""
        own = {name: getattr(self, name) for name in ("beta_1", "beta_2", "epsilon", "frequency")}
        return super().get_config() | own


def _rotate(matrix: Any, bases: list) -> Any:
    (_, left), (_, right) = bases
    return ops.swapaxes(left, -1, -2) @ matrix @ right


def _rotate_back(matrix: Any, bases: list) -> Any:
    (_, left), (_, right) = bases
    return left @ matrix @ ops.swapaxes(right, -1, -2)


def _falling(moment: Any, basis: Any) -> Any:
    """The order of the basis vectors by falling eigenvalue, as the present basis estimates them."""
    estimates = ops.einsum("...ik,...ij,...jk->...k", basis, moment, basis)
    return ops.argsort(-estimates, axis=-1)
