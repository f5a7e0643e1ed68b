r"""Implement SOAP (Vyas et al., arXiv:2409.11321): Adam in the slowly changing eigenbasis of Shampoo's preconditioner.

For a weight matrix with gradient G, SOAP averages two second moments and keeps their
eigenvectors,

.. math:: L \leftarrow \beta_2 L + (1 - \beta_2)\, G G^T, \quad R \leftarrow \beta_2 R + (1 - \beta_2)\, G^T G, \qquad
          L = Q_L \Lambda_L Q_L^T, \quad R = Q_R \Lambda_R Q_R^T,

and runs Adam on the rotated gradient :math:`Q_L^T G Q_R`, whose entries are nearly uncorrelated. Every few steps, one
step of the power iteration, orthonormalised by QR, updates the eigenvectors. SOAP differs from Shampoo, which takes
roots of L and R, and from Muon, which orthonormalises the momentum and keeps no second moment.
"""

from typing import Any

from paperlib._support import tensorflow, validation

# declared as a variable for the type checker, because a class below derives from one of
# its classes
keras: Any
_, keras = tensorflow.load()
ops = keras.ops

__all__ = ["SOAP", "keras"]


@keras.saving.register_keras_serializable("paperlib")
class SOAP(keras.optimizers.Optimizer):
    """SOAP optimizer: Adam in the eigenbasis of Shampoo's preconditioner.

    The last two axes of a variable are those of its matrix, and the axes before them
    are batch axes. The stacked weights of an ensemble are therefore preconditioned
    member by member. Vectors and matrices with one row are updated by plain Adam. A
    side with more than `longest` entries is not rotated, because its matrix of
    eigenvectors would have the square of that number of entries. The first step sets
    the eigenvectors and does not change the weights, because a gradient must not be
    rotated into its own eigenbasis. For variables of half precision, moments and
    eigenvectors are stored and updated in single precision.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Learning rate, or its schedule.
    beta_1 : float
        Decay of the momentum, from 0 up to, but not including, 1.
    beta_2 : float
        Decay of all second moments, from 0 up to, but not including, 1.
    epsilon : float
        Number that is added to the root of the second moment, at least 0. If it is 0, a
        weight that never had a gradient does not change.
    frequency : int
        Number of steps between two updates of the eigenvectors.
    longest : int
        Largest number of entries of a side that is rotated.
    name : str
        Name of the optimizer.
    **options
        Further arguments of `keras.optimizers.Optimizer`.

    Raises
    ------
    TypeError
        If an argument has the wrong type.
    ValueError
        If an argument is out of its range.

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
        longest: int = 10_000,
        name: str = "soap",
        **options: Any,
    ) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **options)
        for label, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= validation.number(label, beta) < 1:
                raise ValueError(f"{label} = {beta}: must be from 0 up to, but not, 1")
        self.beta_1, self.beta_2, self.epsilon = (
            beta_1,
            beta_2,
            validation.number("epsilon", epsilon, minimum=0),
        )
        self.frequency = validation.integer("frequency", frequency, minimum=1)
        self.longest = validation.integer("longest", longest, minimum=1)

    def build(self, variables: list) -> None:
        """Create the moments and the eigenvectors of every variable. A second call has no effect.

        Parameters
        ----------
        variables : list of keras.Variable
            The variables to train.
        """
        if self.built:
            return
        super().build(variables)
        self._moments, self._bases = [], []
        for variable in variables:
            kind = _kept_in(variable)
            if kind == keras.backend.standardize_dtype(variable.dtype):
                moments = [
                    self.add_variable_from_reference(variable, name=f"moment_{n}")
                    for n in (1, 2)
                ]
            else:
                moments = [
                    self.add_variable(
                        shape=variable.shape, dtype=kind, name=f"moment_{n}"
                    )
                    for n in (1, 2)
                ]
            self._moments.append(moments)
            *batch, rows, columns = (
                variable.shape if len(variable.shape) > 1 else (1, 1)
            )
            bases: list = []
            if rows > 1 and min(rows, columns) <= self.longest:
                for side, size in (("left", rows), ("right", columns)):
                    shape, names = (
                        (*batch, size, size),
                        (f"{side}_moment", f"{side}_basis"),
                    )
                    made = size <= self.longest
                    bases.append(
                        [
                            self.add_variable(shape=shape, dtype=kind, name=name)
                            for name in names
                        ]
                        if made
                        else None
                    )
            self._bases.append(bases)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by one step.

        Parameters
        ----------
        gradient : tensor, shape of the variable
            Gradient of the loss.
        variable : variable
            The variable, assigned in place.
        learning_rate : tensor
            Learning rate of this step, a scalar or an array that broadcasts with the
            variable.
        """
        # Keras' own optimizers find the state of a variable in the same way. The
        # variable here is TensorFlow's, whereas `build` was given the Keras variable.
        place = self._get_variable_index(variable)
        (momentum, second), bases = self._moments[place], self._bases[place]
        kind = _kept_in(variable)
        gradient, rate = ops.cast(gradient, kind), ops.cast(learning_rate, kind)
        # Steps are counted from the first one that changes the weights.
        step = ops.cast(self.iterations, kind)
        moves = ops.cast(self.iterations > 0, kind)

        rotated = _rotate(gradient, bases) if bases else gradient
        self.assign(
            momentum, momentum + moves * (1 - self.beta_1) * (rotated - momentum)
        )
        self.assign(
            second, second + moves * (1 - self.beta_2) * (ops.square(rotated) - second)
        )
        bias = (
            1 - moves * ops.power(self.beta_1, step),
            1 - moves * ops.power(self.beta_2, step),
        )
        size = ops.sqrt(second) + self.epsilon
        scaled = momentum / size if self.epsilon else ops.divide_no_nan(momentum, size)
        direction = scaled * (ops.sqrt(bias[1]) / bias[0])
        change = moves * rate * (_rotate_back(direction, bases) if bases else direction)
        self.assign_sub(variable, ops.cast(change, variable.dtype))
        if bases:
            self._turn(gradient, momentum, second, bases)

    def _turn(self, gradient: Any, momentum: Any, second: Any, bases: list) -> None:
        """Update the preconditioner, and every `frequency` steps its eigenvectors.

        Parameters
        ----------
        gradient : tensor, shape (..., rows, columns)
            Gradient in the original basis.
        momentum, second : variable, shape of the gradient
            Adam's moments in the eigenbasis. A change of the basis also transforms
            them.
        bases : list
            For the left and the right side, the list [second moment, eigenvectors], or
            None if the side is not rotated.
        """
        transposed = ops.swapaxes(gradient, -1, -2)
        for side, (one, other) in zip(
            bases, ((gradient, transposed), (transposed, gradient)), strict=True
        ):
            if side:
                self.assign(
                    side[0], side[0] + (1 - self.beta_2) * (one @ other - side[0])
                )
        sides = [side for side in bases if side]
        old = (momentum.value, second.value, *(basis.value for _, basis in sides))

        def first() -> tuple:
            # eigh sorts the eigenvalues in ascending order. They are reversed, because
            # the power iteration converges to the largest first.
            new = [ops.flip(ops.linalg.eigh(moment)[1], axis=-1) for moment, _ in sides]
            return (*old[:2], *new)

        def refresh() -> tuple:
            """Return the moments and the eigenvectors after one step of the power iteration."""
            orders: list[Any] = [_falling(*side) if side else None for side in bases]
            sorted_second = second
            if bases[0]:
                sorted_second = ops.take_along_axis(
                    sorted_second, orders[0][..., :, None], axis=-2
                )
            if bases[1]:
                sorted_second = ops.take_along_axis(
                    sorted_second, orders[1][..., None, :], axis=-1
                )
            new = [
                [
                    side[0],
                    ops.qr(
                        side[0]
                        @ ops.take_along_axis(side[1], order[..., None, :], axis=-1)
                    )[0],
                ]
                if side
                else None
                for side, order in zip(bases, orders, strict=True)
            ]
            plain = _rotate_back(momentum, bases)
            return (
                _rotate(plain, new),
                sorted_second,
                *(side[1] for side in new if side),
            )

        def later() -> tuple:
            return ops.cond(
                ops.equal(self.iterations % self.frequency, 0), refresh, lambda: old
            )

        new = ops.cond(ops.equal(self.iterations, 0), first, later)
        for variable, value in zip(
            (momentum, second, *(basis for _, basis in sides)), new, strict=True
        ):
            self.assign(variable, value)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that construct an equal optimizer.

        Returns
        -------
        dict
            The arguments by name.

        Examples
        --------
        >>> SOAP.from_config(SOAP(frequency=5).get_config()).frequency
        5
        """
        own = {
            name: getattr(self, name)
            for name in ("beta_1", "beta_2", "epsilon", "frequency", "longest")
        }
        return super().get_config() | own


def _kept_in(variable: Any) -> str:
    """Return the dtype of a variable's moments and eigenvectors: its own, or float32 for half precision."""
    kind = keras.backend.standardize_dtype(variable.dtype)
    return "float32" if kind in ("bfloat16", "float16") else kind


def _rotate(matrix: Any, bases: list) -> Any:
    """Return the matrix in the eigenbasis, Q_L^T matrix Q_R."""
    left, right = bases
    matrix = ops.swapaxes(left[1], -1, -2) @ matrix if left else matrix
    return matrix @ right[1] if right else matrix


def _rotate_back(matrix: Any, bases: list) -> Any:
    """Return a matrix of the eigenbasis in the original basis, Q_L matrix Q_R^T."""
    left, right = bases
    matrix = left[1] @ matrix if left else matrix
    return matrix @ ops.swapaxes(right[1], -1, -2) if right else matrix


def _falling(moment: Any, basis: Any) -> Any:
    """Return the indices that sort the basis vectors by descending eigenvalue, as estimated in the present basis."""
    estimates = ops.einsum("...ik,...ij,...jk->...k", basis, moment, basis)
    return ops.argsort(-estimates, axis=-1)
