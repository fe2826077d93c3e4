"""A demo with real prices: four strategies, 78 iterations, and rule-based suggestions.

The prices are those of four shares that survived and did well (AAPL, GOOG, IBM, MSFT, 2000 to 2013). Whatever
a strategy earns on them is no evidence of skill: the demo shows how to keep and judge research, not what to buy.

`finlab_nb.demo.build.build_demo` fills a database with it.
"""
