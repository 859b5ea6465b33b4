``meshd validate FILE``, ``meshd filters`` and ``meshd new-filter NAME``.
