"""The errors of finlab_nb: one base class, and each is also the builtin that a caller would expect."""


class StorageError(Exception):
    """The database, its file, the pool or the reader failed; the message says what to do."""


class StoreClosedError(StorageError):
    """The store was used after `close()`."""


class PoolTimeoutError(StorageError, TimeoutError):
    """No connection, or no write lock, became free in time."""


class StrategyNotFoundError(StorageError, LookupError):
    """No strategy has this id."""


class IterationNotFoundError(StorageError, LookupError):
    """No iteration has this id."""


class SuggestionNotFoundError(StorageError, LookupError):
    """No suggestion has this id."""


class SchemaChangedError(StorageError):
    """Another program has changed the tables of the database; the message names what differs."""


class ReaderError(StorageError):
    """The child process that reads the database for DuckDB could not start or failed."""


class QueryError(StorageError, ValueError):
    """DuckDB refused a query: its text or its parameters are wrong."""


class BadDataWarning(UserWarning):
    """Values that another program wrote break the rules and are missing; `StorageManager.check()` lists them."""


class NewerFormatWarning(UserWarning):
    """An export file has a newer minor version of the format, and fields that it adds were passed over."""
