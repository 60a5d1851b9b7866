"""Tests of agent memory."""
