Filters of one's own are found in ``meshd/filters``, in ``twisted/plugins`` and by entry points; ``meshd.testing`` tests them without a network.
