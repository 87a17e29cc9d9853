"""URLs of the researcher's pages."""

from django.urls import path

from analysis import plan_views, views

urlpatterns = [
    path("studies/<str:code>/", views.study_overview, name="study_overview"),
    path("studies/<str:code>/dyads/", views.dyads, name="dyads"),
    path("studies/<str:code>/dyads.csv", views.dyads_download, name="dyads_download"),
    path("studies/<str:code>/codebook.csv", views.codebook_download, name="codebook_download"),
    path("studies/<str:code>/dyads/<str:dyad_code>/<str:wave_code>/", views.dyad, name="dyad"),
    path("studies/<str:code>/plan/", plan_views.analysis_plan, name="analysis_plan"),
    path("studies/<str:code>/plan/edit/", plan_views.analysis_plan_edit, name="analysis_plan_edit"),
    path("studies/<str:code>/analyses/", views.analyses, name="analyses"),
    path("studies/<str:code>/analyses/new/", views.analysis_new, name="analysis_new"),
    path("studies/<str:code>/analyses/<int:run_id>/", views.analysis, name="analysis"),
    path("studies/<str:code>/analyses/<int:run_id>/progress/", views.analysis_progress, name="analysis_progress"),
]
