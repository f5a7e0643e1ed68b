r"""Implement the optimizer SOAP: Adam in the eigenbasis of Shampoo's preconditioner.

The method was published by Vyas et al., arXiv:2409.11321. For a weight matrix with
gradient G, SOAP keeps running averages L and R of two second moments, with the decay
:math:`\beta_2`, and stores their eigenvectors as the columns of :math:`Q_L` and
:math:`Q_R`:

.. math:: L \leftarrow \beta_2 L + (1 - \beta_2)\, G G^T, \quad
          R \leftarrow \beta_2 R + (1 - \beta_2)\, G^T G, \qquad
          L = Q_L \Lambda_L Q_L^T, \quad R = Q_R \Lambda_R Q_R^T.

SOAP runs Adam on the rotated gradient :math:`Q_L^T G Q_R`, whose entries are nearly
uncorrelated, and rotates the resulting change of the weights back. L and R are updated
in every step. :math:`Q_L` and :math:`Q_R` are updated once in `frequency` steps, by one
step of the power iteration: Q becomes the orthonormal factor of a QR decomposition of
L Q or R Q. SOAP differs from Shampoo, which takes roots of L and R, and from Muon,
which orthonormalises the momentum and keeps no second moment.

The rows and the columns of a weight matrix are called its two sides. The state of the
left side, the rows, consists of L and :math:`Q_L`, and the state of the right side, the
columns, of R and :math:`Q_R`.
"""

from typing import Any, NamedTuple

from paperlib._support import tensorflow, validation

# The type checker needs this declaration, because a class below derives from a Keras
# class.
keras: Any
_, keras = tensorflow.load()
ops = keras.ops

__all__ = ["SOAP", "keras"]


class _Side(NamedTuple):
    """The state of one side of a weight matrix: its rows, or its columns.

    Both variables have the shape (..., size, size), where size is the number of rows or
    of columns.
    """

    moment: Any  # L or R, the average of G G^T or G^T G over the gradients G
    basis: Any  # Q_L or Q_R, the eigenvectors of `moment` as columns


# The state of the rows and of the columns of a matrix. It is None for a side whose
# gradient is not rotated.
_Sides = tuple[_Side | None, _Side | None]


@keras.saving.register_keras_serializable("paperlib")
class SOAP(keras.optimizers.Optimizer):
    """SOAP optimizer: Adam in the eigenbasis of Shampoo's preconditioner.

    The last two axes of a variable are the rows and columns of a matrix. The axes
    before them are batch axes: each matrix has its own preconditioner. If the weights
    of several networks are stacked along a first axis, the networks do not influence
    each other.

    The gradient of a matrix is rotated into two eigenbases, one for the rows and one
    for the columns. It is not rotated along the rows if there are more than `longest`
    of them, and not along the columns if there are more than `longest` of them, because
    a matrix of eigenvectors has the square of that number of entries. Vectors and
    matrices with one row are not rotated at all: they are updated as by Adam.

    The first step changes no weight, and this includes the weights that are not
    rotated. It only computes the first eigenvectors of the matrices. These come from
    the first gradient alone, and a gradient must not be rotated into eigenvectors that
    were computed from that gradient alone. Adam's count of steps begins with the second
    step. For variables of half precision, moments and eigenvectors are stored and
    updated in single precision.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
        Learning rate, or its schedule.
    beta_1 : float
        Decay of the momentum, the running average of the gradient, at least 0 and below
        1.
    beta_2 : float
        Decay of the running averages of all second moments: that of Adam, L and R. It
        is at least 0 and below 1.
    epsilon : float
        Number that is added to the square root of Adam's second moment before the
        momentum is divided by it, at least 0. If it is 0, a weight whose gradient was
        always 0 does not change.
    frequency : int
        Number of steps between two updates of the eigenvectors, at least 1.
    longest : int
        Largest number of rows or columns along which a gradient is rotated, at least 1.
    name : str
        Name of the optimizer.
    **options
        Further arguments of `keras.optimizers.Optimizer`, for example `clipnorm`.

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
                raise ValueError(f"{label} = {beta}: must be at least 0 and below 1")
        self.beta_1, self.beta_2 = beta_1, beta_2
        self.epsilon = validation.number("epsilon", epsilon, minimum=0)
        self.frequency = validation.integer("frequency", frequency, minimum=1)
        self.longest = validation.integer("longest", longest, minimum=1)

    def build(self, variables: list) -> None:
        """Create the optimizer's state: moments and eigenvectors of every variable.

        All of them are zero until the first step. Keras calls this method before the
        first step. A second call has no effect.

        Parameters
        ----------
        variables : list of keras.Variable
            The variables to train.

        Examples
        --------
        The matrix has two sides, its rows and its columns, each with a basis.

        >>> optimizer = SOAP()
        >>> optimizer.build([keras.Variable([[1.0, 2.0], [3.0, 4.0]])])
        >>> sum("basis" in variable.path for variable in optimizer.variables)
        2
        """
        if self.built:
            return
        super().build(variables)
        self._moments: list = []
        self._sides: list[_Sides] = []
        for variable in variables:
            self._moments.append(
                [self._add(variable, variable.shape, f"moment_{n}") for n in (1, 2)]
            )
            self._sides.append(self._add_sides(variable))

    def _add(self, variable: Any, shape: tuple[int, ...], name: str) -> Any:
        """Add an array of zeros to the optimizer's state, and return its variable.

        `variable` is the trained variable for which the array is used. `shape` is the
        shape of the array. `name` is added to the path of `variable` to name it.
        """
        full_name = f"{variable.path.replace('/', '_')}_{name}"
        kind = _state_dtype(variable)
        return self.add_variable(shape=shape, dtype=kind, name=full_name)

    def _add_sides(self, variable: Any) -> _Sides:
        """Add the state of the rows and of the columns of a trained variable.

        A side is None, and adds no state, if the gradient is not rotated along it. That
        is so for both sides of a vector or of a matrix with one row, and for a side
        with more than `longest` rows or columns.
        """
        shape = variable.shape if len(variable.shape) > 1 else (1, 1)
        *batch, rows, columns = shape

        def side(name: str, size: int) -> _Side | None:
            if rows == 1 or size > self.longest:
                return None
            square = (*batch, size, size)
            moment = self._add(variable, square, f"{name}_moment")
            return _Side(moment, self._add(variable, square, f"{name}_basis"))

        return side("left", rows), side("right", columns)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable by one step. Keras' `apply` calls this for each variable.

        Parameters
        ----------
        gradient : tensor, shape of the variable
            Gradient of the loss with respect to the variable.
        variable : variable
            The variable to train, assigned in place.
        learning_rate : tensor
            Learning rate of this step, a scalar or an array that broadcasts with the
            variable.

        Examples
        --------
        The first of the two steps changes no weight. The second step moves each weight
        by the learning rate, 0.5, against the sign of its gradient.

        >>> optimizer, variable = SOAP(0.5), keras.Variable([1.0, 2.0])
        >>> for _ in range(2):
        ...     optimizer.apply([ops.convert_to_tensor([1.0, -1.0])], [variable])
        >>> variable.numpy().round(3).tolist()
        [0.5, 2.5]
        """
        # Keras' own optimizers also look up the index of a variable by this private
        # method. `variable` is TensorFlow's variable, whereas `build` received the
        # Keras variable that contains it.
        index = self._get_variable_index(variable)
        (momentum, second), sides = self._moments[index], self._sides[index]
        kind = _state_dtype(variable)
        gradient = ops.cast(gradient, kind)
        rate = ops.cast(learning_rate, kind)
        # In the first step, `iterations` and `moves` are 0, and no weight changes. In
        # the second step, Adam's count of steps is 1.
        step = ops.cast(self.iterations, kind)
        moves = ops.cast(self.iterations > 0, kind)

        rotated = _rotate(gradient, sides)
        self.assign(
            momentum, momentum + moves * (1 - self.beta_1) * (rotated - momentum)
        )
        self.assign(
            second, second + moves * (1 - self.beta_2) * (ops.square(rotated) - second)
        )
        size = ops.sqrt(second) + self.epsilon
        scaled = momentum / size if self.epsilon else ops.divide_no_nan(momentum, size)
        bias_1 = 1 - moves * ops.power(self.beta_1, step)
        bias_2 = 1 - moves * ops.power(self.beta_2, step)
        direction = scaled * (ops.sqrt(bias_2) / bias_1)
        change = moves * rate * _rotate_back(direction, sides)
        self.assign_sub(variable, ops.cast(change, variable.dtype))
        if any(sides):
            self._update_sides(gradient, momentum, second, sides)

    def _update_sides(
        self, gradient: Any, momentum: Any, second: Any, sides: _Sides
    ) -> None:
        """Update L and R of a variable, and once in `frequency` steps the eigenvectors.

        Parameters
        ----------
        gradient : tensor, shape (..., rows, columns)
            Gradient in the original basis.
        momentum, second : variable, shape of the gradient
            Adam's averages of the rotated gradient and of its square. They are assigned
            in place, because they are given in the basis of the eigenvectors.
        sides : tuple of _Side or None
            The state of the rows and of the columns, assigned in place.
        """
        transposed = ops.swapaxes(gradient, -1, -2)
        factors = (gradient, transposed), (transposed, gradient)
        for side, (one, other) in zip(sides, factors, strict=True):
            if side:
                change = one @ other - side.moment
                self.assign(side.moment, side.moment + (1 - self.beta_2) * change)
        rotated = [side for side in sides if side]
        state = (momentum, second, *(side.basis for side in rotated))
        old = tuple(variable.value for variable in state)

        def first() -> tuple:
            # eigh sorts the eigenvalues in ascending order. The order is reversed,
            # because the power iteration converges first for the largest eigenvalue.
            vectors = [ops.linalg.eigh(_scaled(side))[1] for side in rotated]
            return (*old[:2], *(ops.flip(each, axis=-1) for each in vectors))

        def later() -> tuple:
            return ops.cond(
                ops.equal(self.iterations % self.frequency, 0),
                lambda: _refreshed(momentum, second, sides),
                lambda: old,
            )

        new = ops.cond(ops.equal(self.iterations, 0), first, later)
        for variable, value in zip(state, new, strict=True):
            self.assign(variable, value)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments that let `from_config` make the same optimizer.

        Returns
        -------
        dict
            The arguments of the constructor by name. The state is not included.

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


def _state_dtype(variable: Any) -> str:
    """Return the dtype of a variable's moments and eigenvectors.

    It is the dtype of the variable, or float32 for half precision.
    """
    kind = keras.backend.standardize_dtype(variable.dtype)
    return "float32" if kind in ("bfloat16", "float16") else kind


def _rotate(matrix: Any, sides: _Sides) -> Any:
    """Return a matrix in the eigenbases of its sides, Q_L^T matrix Q_R.

    The factor of a side that is None is omitted.
    """
    left, right = sides
    matrix = ops.swapaxes(left.basis, -1, -2) @ matrix if left else matrix
    return matrix @ right.basis if right else matrix


def _rotate_back(matrix: Any, sides: _Sides) -> Any:
    """Undo `_rotate`: return Q_L matrix Q_R^T.

    The factor of a side that is None is omitted.
    """
    left, right = sides
    matrix = left.basis @ matrix if left else matrix
    return matrix @ ops.swapaxes(right.basis, -1, -2) if right else matrix


def _scaled(side: _Side) -> Any:
    """Return the second moment of a side, divided by its largest absolute entry.

    The eigenvectors do not depend on this factor. Without it the decompositions fail
    near the end of a training: for gradients of about 1e-8 the squares of the entries
    underflow in single precision, and Q is then not orthogonal.
    """
    largest = ops.max(ops.abs(side.moment), axis=(-1, -2), keepdims=True)
    return ops.divide_no_nan(side.moment, largest)


def _refreshed(momentum: Any, second: Any, sides: _Sides) -> tuple:
    """Return Adam's moments and the eigenvectors after one step of the power iteration.

    For each side, the eigenvalues are estimated as the diagonal of Q^T L Q or Q^T R Q,
    and the columns of Q are sorted by descending eigenvalue. The new Q is then the
    orthonormal factor of a QR decomposition of L Q or R Q. The momentum is transformed
    to the new basis. The second moment is only sorted like the eigenvectors, because
    an average of squares cannot be transformed to another basis. Returned are the
    momentum, the second moment, and the new Q of each side that is not None.
    """
    new: list[Any] = [None, None]
    for number, side in enumerate(sides):
        if side:
            estimates = ops.einsum(
                "...ik,...ij,...jk->...k", side.basis, side.moment, side.basis
            )
            order = ops.argsort(-estimates, axis=-1)
            along_rows, along_columns = order[..., :, None], order[..., None, :]
            if number == 0:
                second = ops.take_along_axis(second, along_rows, axis=-2)
            else:
                second = ops.take_along_axis(second, along_columns, axis=-1)
            basis = ops.take_along_axis(side.basis, along_columns, axis=-1)
            new[number] = _Side(side.moment, ops.qr(_scaled(side) @ basis)[0])
    left, right = new
    rotated = _rotate(_rotate_back(momentum, sides), (left, right))
    return rotated, second, *(side.basis for side in new if side)
