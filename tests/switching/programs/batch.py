import databento as db
from setting import KEY, URL

client = db.Historical(KEY, URL)
job = client.batch.submit_job(
    dataset="GLBX.MDP3",
    symbols=["ESH6"],
    schema=db.Schema.TRADES,
    start="2026-01-05",
    encoding=db.Encoding.DBN,
    split_duration=db.SplitDuration.DAY,
    delivery=db.Delivery.DOWNLOAD,
)
print(job)
for one in client.batch.list_files(job["id"]):
    print(one["filename"], one["size"])
for path in sorted(client.batch.download(job_id=job["id"], output_dir="out")):
    print(path.name, path.stat().st_size)
    if path.name.endswith(".dbn.zst"):
        frame = db.read_dbn(path).to_df()
        print(len(frame), frame["price"].sum(), frame["symbol"].unique())
data = client.timeseries.get_range(
    dataset=db.Dataset.GLBX_MDP3, schema="trades", symbols="ESH6", start="2026-01-05", limit=9
)
print(data.schema, data.nbytes, len(data.to_df()))
data = client.timeseries.get_range("GLBX.MDP3", "2026-01-05", path="range.dbn.zst")
print(len(db.DBNStore.from_file("range.dbn.zst").to_df()) == len(data.to_df()))
print(client.metadata.list_datasets(), client.metadata.get_cost("GLBX.MDP3", "2026-01-05"))
for wrong in (
    lambda: client.timeseries.get_range("NO.SUCH", "2026-01-05"),
    lambda: db.Historical("db-wrong", URL).metadata.list_datasets(),
    lambda: client.metadata.list_publishers(),
):
    try:
        wrong()
    except db.BentoError as error:
        print(type(error).__name__, error.http_status, isinstance(error, db.BentoClientError))
try:
    client.timeseries.get_range("GLBX.MDP3", "2026-01-05", schema="trade")
except ValueError:
    print("ValueError")
