-- A migration of an app that calls its routes from pg_cron by a function of its own: the function, the jobs by name, the
-- settings of the database. Written for pg_net; nothing in it knows of wee5_cron.

create or replace function public.invoke_cron_endpoint(endpoint_path text)
returns void
language plpgsql
security definer
set search_path = public
as $$
declare
  api_url text;
  cron_secret text;
begin
  api_url := current_setting('app.settings.api_url', true);
  cron_secret := current_setting('app.settings.cron_secret', true);

  if api_url is null or cron_secret is null then
    raise warning 'api_url or cron_secret is not configured';
    return;
  end if;

  perform net.http_get(
    url := api_url || endpoint_path,
    headers := jsonb_build_object(
      'Authorization', 'Bearer ' || cron_secret,
      'Content-Type', 'application/json'
    ),
    timeout_milliseconds := 30000
  );
end;
$$;

comment on function public.invoke_cron_endpoint(text) is 'Calls a cron endpoint of the app';

select cron.schedule('poll-activities', '*/30 * * * *', $$select invoke_cron_endpoint('/api/cron/poll-activities')$$);
select cron.schedule('welcome-emails', '0 * * * *', $$select invoke_cron_endpoint('/api/cron/welcome-emails')$$);
select cron.schedule('daily-analytics', '0 0 * * *', $$select invoke_cron_endpoint('/api/analytics/cron')$$);

alter database postgres set app.settings.api_url = 'http://localhost:3000';
alter database postgres set app.settings.cron_secret = 'change-me';
