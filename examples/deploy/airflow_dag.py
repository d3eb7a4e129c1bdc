"""A day's rows scored by Airflow 3, on a worker with `classifact[serve]`: a try that is killed goes on where it was.

Read and parsed by tests/test_deploy.py with a stand-in for Airflow; not run under Airflow.
"""

from datetime import datetime, timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

with DAG("score", schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False):
    # A bundle that does not score as it was proven to ends the day before any row is written.
    check = BashOperator(task_id="check", bash_command="classifact check /srv/bundles/mine")
    score = BashOperator(
        task_id="score",
        # `exec`: Airflow's SIGTERM reaches the scorer, which saves and ends.
        bash_command=(
            "exec classifact score /srv/bundles/mine /srv/rows/{{ ds }}.parquet"
            " --out /srv/scored/{{ ds }}.parquet --resume --quiet"
        ),
        retries=5,
        retry_delay=timedelta(minutes=1),
    )
    check >> score
