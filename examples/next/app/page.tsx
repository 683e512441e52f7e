export default function Page() {
  return (
    <main>
      <h1>Activities</h1>
      <p>
        PostgreSQL calls three routes of this app. Administrators see <a href="/admin/cron">how they are doing</a>.
      </p>
    </main>
  );
}
