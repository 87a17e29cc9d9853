"""URLs of the staff pages about questionnaires."""

from django.urls import path

from instruments import (
    consent_views,
    day_views,
    device_views,
    inbox_views,
    list_views,
    retention_views,
    withdrawal_views,
)
from instruments import staff_views as views
from instruments.paper import views as paper_views

urlpatterns = [
    path("studies/new/", views.study_new, name="study_new"),
    path("studies/<str:code>/settings/", views.study_settings, name="study_settings"),
    path("studies/<str:code>/open/", views.study_open, name="study_open"),
    path("studies/<str:code>/consent/", consent_views.consent_texts, name="consent_texts"),
    path("studies/<str:code>/consent/<str:language>/", consent_views.consent_text, name="consent_text"),
    path(
        "studies/<str:code>/consent/<str:language>/<int:site_id>/",
        consent_views.consent_text,
        name="consent_text_of_site",
    ),
    path("studies/<str:code>/clinicians/<int:clinician_id>/", views.clinician_edit, name="clinician_edit"),
    path("studies/<str:code>/day/", day_views.day, name="day"),
    path("studies/<str:code>/visits/<int:visit_id>/decline/", day_views.visit_decline, name="visit_decline"),
    path("studies/<str:code>/visits/<int:visit_id>/take-part/", day_views.visit_take_part, name="visit_take_part"),
    path("studies/<str:code>/visits/", views.visits, name="visits"),
    path("studies/<str:code>/visits/new/", views.visit_new, name="visit_new"),
    path("studies/<str:code>/visits/list/", list_views.day_list, name="day_list"),
    path("studies/<str:code>/visits/list/<uuid:key>/", list_views.day_list_confirm, name="day_list_confirm"),
    path("studies/<str:code>/participation/", list_views.participation_page, name="participation"),
    path("studies/<str:code>/participation/new/", list_views.non_participation_new, name="non_participation_new"),
    path("studies/<str:code>/links/<int:administration_id>/", views.link_reissue, name="link_reissue"),
    path("studies/<str:code>/hand-over/<int:administration_id>/", device_views.hand_over_page, name="hand_over"),
    path("studies/<str:code>/tablets/", device_views.device_list, name="devices"),
    path("studies/<str:code>/tablets/new/", device_views.device_new, name="device_new"),
    path("studies/<str:code>/tablets/<int:device_id>/", device_views.device_edit, name="device_edit"),
    path("studies/<str:code>/tablets/<int:device_id>/link/", device_views.device_link, name="device_link"),
    path("studies/<str:code>/tablets/<int:device_id>/revoke/", device_views.device_revoke, name="device_revoke"),
    path("studies/<str:code>/tablets/<int:device_id>/noted/", device_views.device_noted, name="device_noted"),
    path("studies/<str:code>/tablets/<int:device_id>/take-back/", device_views.take_back, name="hand_over_take_back"),
    path("studies/<str:code>/rate/", inbox_views.patients_to_rate, name="patients_to_rate"),
    path("studies/<str:code>/rate/<int:administration_id>/", inbox_views.rate_patient, name="rate_patient"),
    path("studies/<str:code>/rate/<int:administration_id>/label/", inbox_views.rating_label, name="rating_label"),
    path("studies/<str:code>/paper/", paper_views.paper_forms, name="paper_forms"),
    path("studies/<str:code>/paper/blank/", paper_views.paper_blank, name="paper_blank"),
    path("studies/<str:code>/paper/<int:administration_id>/", paper_views.paper_entry, name="paper_entry"),
    path("studies/<str:code>/paper/<int:administration_id>/form/", paper_views.paper_print, name="paper_print"),
    path("studies/<str:code>/paper/<int:administration_id>/compare/", paper_views.paper_compare, name="paper_compare"),
    path("studies/<str:code>/paper/<int:administration_id>/discard/", paper_views.paper_discard, name="paper_discard"),
    path("studies/<str:code>/retention/", retention_views.retention, name="retention"),
    path("studies/<str:code>/retention/confirm/", retention_views.retention_confirm, name="retention_confirm"),
    path("studies/<str:code>/withdrawals/", withdrawal_views.withdrawals, name="withdrawals"),
    path("studies/<str:code>/withdrawals/<int:dyad_id>/", withdrawal_views.withdrawal_new, name="withdrawal_new"),
    path("studies/<str:code>/erase/patient/<int:patient_id>/", withdrawal_views.patient_erase, name="patient_erase"),
    path(
        "studies/<str:code>/erase/clinician/<int:clinician_id>/",
        withdrawal_views.clinician_erase,
        name="clinician_erase",
    ),
    path("studies/<str:code>/import/", views.import_page, name="import_responses"),
]
