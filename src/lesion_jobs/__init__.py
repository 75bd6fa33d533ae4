"""Jobs: Lesion on SageMaker, or in its local mode, from Python: prepare shards, train, tune, deploy, predict,
transform, evaluate, and a pipeline of them.

Thin functions over boto3 that set what people forget, refuse what would fail before it is paid for, and say first what
a job costs at most and where its logs are. Imports no torch, boto3 only when a job starts, and the SageMaker SDK only
in local mode.

    environment = Environment(image="lesion:0.1.0", instance_type="local", output="build/jobs")
    run = train(environment, "my_data", hyperparameters={"model": "resnet18"})
    endpoint = deploy(environment, run)
    predict(endpoint, "picture.jpg", {"sex": "male", "age_approx": 45})
    delete_endpoint(endpoint)
    fetch_predictions(transform(environment, run, "my_pictures"))
    fetch_evaluation(evaluate(environment, run, "other_hospital"), "evaluation")
"""

from lesion_jobs.account.estimate import Cost, estimate
from lesion_jobs.account.storage import upload
from lesion_jobs.answers import Prediction
from lesion_jobs.endpoints.deploying import delete_endpoint, deploy
from lesion_jobs.endpoints.endpoint import Endpoint
from lesion_jobs.endpoints.later import Later, predict_later
from lesion_jobs.endpoints.monitoring import Schedule, monitor
from lesion_jobs.endpoints.prediction import predict
from lesion_jobs.endpoints.rollout import Update, roll_back, rollout
from lesion_jobs.endpoints.scaling import autoscale
from lesion_jobs.endpoints.split import shadow, split
from lesion_jobs.environment import Environment
from lesion_jobs.hosting import AllAtOnce, Async, Canary, Capture, Linear, RealTime, Scale, Serverless
from lesion_jobs.pipelines.execution import Execution
from lesion_jobs.pipelines.local import LocalExecution
from lesion_jobs.pipelines.make import pipeline
from lesion_jobs.pipelines.pipeline import Pipeline
from lesion_jobs.requests.tuning import WarmStart
from lesion_jobs.runs.batch import TransformRun, fetch_predictions, transform
from lesion_jobs.runs.evaluation import EvaluationRun, evaluate, fetch_evaluation
from lesion_jobs.runs.models import ModelVersion
from lesion_jobs.runs.processing import ShardsRun, prepare_shards
from lesion_jobs.runs.registry import register
from lesion_jobs.runs.training import TrainingRun, fetch_results, train
from lesion_jobs.runs.tuning import TuningRun, best, tune

Place = Environment  # its former name, for scripts that users have

__all__ = [
    "AllAtOnce",
    "Async",
    "Canary",
    "Capture",
    "Cost",
    "Endpoint",
    "Environment",
    "EvaluationRun",
    "Execution",
    "Later",
    "Linear",
    "LocalExecution",
    "ModelVersion",
    "Pipeline",
    "Place",
    "Prediction",
    "RealTime",
    "Scale",
    "Schedule",
    "Serverless",
    "ShardsRun",
    "TrainingRun",
    "TransformRun",
    "TuningRun",
    "Update",
    "WarmStart",
    "autoscale",
    "best",
    "delete_endpoint",
    "deploy",
    "estimate",
    "evaluate",
    "fetch_evaluation",
    "fetch_predictions",
    "fetch_results",
    "monitor",
    "pipeline",
    "predict",
    "predict_later",
    "prepare_shards",
    "register",
    "roll_back",
    "rollout",
    "shadow",
    "split",
    "train",
    "transform",
    "tune",
    "upload",
]
