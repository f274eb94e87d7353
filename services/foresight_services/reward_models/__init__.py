"""Neural models that score text themselves: reward models and the encoder of BERTScore.

Nothing here is loaded or asked before a metric is prepared with it, and then once for the process.
torch and transformers are imported in the thread that loads a model, never before.
"""
