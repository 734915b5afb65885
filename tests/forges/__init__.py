"""Tests of `minipach.forges`."""
