"""The graph of stages under each engine, cut from `uvrlab.stages.STAGES`."""
