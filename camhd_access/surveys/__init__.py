"""Surveys: one function over frames of many movies, with results in a Parquet dataset.

::

    choices      frames, at, every, scene → the frames of each movie
    context      what the function is told about its pictures
    rows         what the function returns → rows with movie, frame, time and damage
    dataset      the folder of results: one file per movie, complete or absent
    tables       rows ↔ Parquet, pandas, xarray
    study        one movie: read its frames in groups, call the function, write its file
    execution    threads, processes or a cluster: the outcome of each movie, as it completes
    limits       one limit on requests for all workers
    estimate     requests, bytes, hours and money, from a sample of the movies
    resuming     which movies are to be done, and which are skipped, and why
    preparing    the arguments, checked
    survey       `survey`: does the movies, returns the rows

A movie is done if the folder has its file for the same function, version of the function, parameters and
version of the movie. All of these are in the name of the file, so one listing of the folder tells what is
missing. No process holds the results of more than one movie while the survey runs.
"""

from camhd_access.surveys.context import SurveyContext
from camhd_access.surveys.estimate import SurveyPlan
from camhd_access.surveys.resuming import SurveyReport

__all__ = ["SurveyContext", "SurveyPlan", "SurveyReport"]
