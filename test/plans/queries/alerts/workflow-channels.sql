-- db/alerts/workflow-channels.ts

-- chooseAlertChannels

DELETE /* chooseAlertChannels */ FROM workflow_alert_channels WHERE workflow_id = $1;

INSERT /* chooseAlertChannels */ INTO workflow_alert_channels (workflow_id, channel_id)
SELECT $1::uuid, id FROM unnest($2::uuid[]) AS chosen (id);

SELECT /* chooseAlertChannels */ id FROM alert_channels
WHERE id = ANY($1::uuid[]) AND user_id = $2 AND deleted_at IS NULL;
